"""A Wide ResNet ensemble of five members, trained on real handwriting, exported, and judged where it will run.

    pip install "hnexport[examples]"
    python examples/train_digits.py [--out FOLDER]

scikit-learn ships 1,797 handwritten digits of 8x8 pixels. A hypernetwork generates the convolutions of each member; the
output layer and the batch-norm statistics are its own. 1,297 digits train, 500 are held out. The weights are saved as a
native checkpoint, built into a verified bundle, and asked again through the runtime, which needs no PyTorch. It takes
about a minute on two cores. The bundle comes from the checkpoint on the command line too:

    hnexport build --checkpoint FOLDER/digits.safetensors --out bundles/digits
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional as F

from hnexport import HypernetSpec, ImageSpec, Pipeline, PipelineSpec, PreprocessSpec, Usage, WideResNetSpec
from hnexport.build import build
from hnexport.networks.wide_resnet.checkpoints import load_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.spec import ImageLayout
from hnexport.runtime import load

MEMBERS, EPOCHS, BATCH = 5, 12, 64
USAGE = Usage(class_names={"logits": tuple("0123456789")})  # what a user of the bundle has to know beside it
Split = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description="A Wide ResNet ensemble, trained on digits and exported.")
    parser.add_argument("--out", type=Path, help="where checkpoint and bundle are kept; default: a temporary folder")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    train_images, images, train_labels, labels = digits()
    pipeline = Pipeline.from_seed(specification(train_images), seed=0)
    train(pipeline, torch.from_numpy(train_images), torch.from_numpy(train_labels), arguments.epochs)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        trained = pipeline.checkpoint(origin="examples/train_digits.py").with_usage(USAGE)
        save_checkpoint(folder / "digits.safetensors", trained)
        bundle = build(load_checkpoint(folder / "digits.safetensors"), folder / "digits").path
        judge(bundle, images, labels)


def digits() -> Split:
    """Images to train on and held-out ones, uint8 `[image, height, width, channel]`, and the labels of both."""
    data = load_digits()
    pixels = np.round(data.images / 16 * 255).astype(np.uint8)[..., None]
    split: Split = train_test_split(pixels, data.target, test_size=500, stratify=data.target, random_state=0)
    return split


def specification(images: NDArray[np.uint8]) -> PipelineSpec:
    """Normalisation is part of the graph: whoever runs the bundle gives pixels, and cannot normalise them otherwise."""
    return PipelineSpec(
        network=WideResNetSpec.from_name("wrn-10-1", image=ImageSpec(channels=1, height=8, width=8)),
        members=MEMBERS,
        hypernet=HypernetSpec(),
        member_statistics=True,  # each member sees activations of its own, so each needs statistics of its own
        image_layout=ImageLayout.NHWC,
        preprocess=PreprocessSpec(mean=(float(images.mean() / 255),), std=(float(images.std() / 255),)),
    )


def train(pipeline: Pipeline, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    """Each step takes every member, each on a batch of its own, because all share the hypernetwork."""
    torch.manual_seed(0)
    pipeline.requires_grad_().train()
    steps = epochs * (len(images) // BATCH)
    optimiser = torch.optim.Adam(pipeline.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.01, total_steps=steps)
    for _ in range(epochs):
        orders = [torch.randperm(len(images)) for _ in range(pipeline.spec.members)]
        for start in range(0, len(images) - BATCH + 1, BATCH):
            optimiser.zero_grad()
            for member, order in enumerate(orders):
                chosen = order[start : start + BATCH]
                F.cross_entropy(pipeline(member, images[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
    pipeline.eval()


def judge(bundle: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """The accuracy of each member, and of the mean of their probabilities, of the files that are shipped."""
    ensemble = load(bundle)
    for member in range(MEMBERS):
        print(f"member {member}: {(ensemble.predict(images, member=member).argmax(1) == labels).mean():.4f}")
    print(f"ensemble: {(ensemble.predict_mean(images).probabilities.argmax(1) == labels).mean():.4f}")


if __name__ == "__main__":
    main()
