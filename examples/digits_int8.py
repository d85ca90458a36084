"""Deep ensembles of plain modules for fewer bits and fewer members: convolutions, and a transformer.

    pip install "hnexport[examples,openvino]"
    python examples/digits_int8.py [--kind convolutions|transformer] [--out FOLDER]

Five networks are trained on the digits of examples/train_digits.py, exported, and calibrated in int8 with 256 of the
training images. The held-out ones say what int8 changes, and how many members an image takes until their mean is 0.8
sure. It takes a minute on two cores.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from train_digits import USAGE, digits
from train_digits_modules import MEMBERS, Classifier, train

from hnexport import Ensemble, Logits
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.runtime import load
from hnexport.tune.int8 import quantised

KINDS = {"convolutions": (Classifier, 0.01, 10)}  # the class, its learning rate, epochs


class Transformer(nn.Module):
    """`image: uint8 [batch, 8, 8, 1] -> logits [batch, 10]`: 16 patches of 2x2 pixels, matrix products alone."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.embed = nn.Linear(4, 48)
        self.positions = nn.Parameter(torch.randn(1, 16, 48) * 0.1)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 10))

    def forward(self, image: Tensor) -> Tensor:
        """Logits of pictures."""
        x = (image.squeeze(3) / 255.0 - self.mean) / self.std
        patches = x.unflatten(2, (4, 2)).unflatten(1, (4, 2)).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
        return self.head(self.encoder(self.embed(patches) + self.positions).mean(1))


KINDS["transformer"] = (Transformer, 0.003, 30)


def main() -> None:
    parser = argparse.ArgumentParser(description="Deep ensembles in int8 that stop early, on digits.")
    parser.add_argument("--kind", choices=KINDS, default="transformer")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; default: a temporary folder")
    parser.add_argument("--epochs", type=int, help="default: what the kind needs")
    arguments = parser.parse_args()
    make, rate, epochs = KINDS[arguments.kind]
    train_images, images, train_labels, labels = digits()
    networks = [
        train(seed, train_images, train_labels, arguments.epochs or epochs, make, rate) for seed in range(MEMBERS)
    ]
    ensemble = Ensemble.from_modules(
        networks,
        example_inputs={"image": torch.from_numpy(images[:2])},
        outputs={"logits": Logits(axis=1)},
        origin="examples/digits_int8.py",
    ).with_usage(USAGE)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bundle = build(ensemble, folder / f"digits-{arguments.kind}", options=BuildOptions(formats=(Format.ONNX,))).path
        np.savez(folder / "calibration.npz", image=train_images, label=train_labels)
        made = quantised(bundle, folder / "calibration.npz").report
        print(f"{made.layers} layers in int8, {len(made.kept)} in float32")
        report(bundle, images, labels)


def report(bundle: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Of each way to run: accuracy, answers that are not float32's, and members an image."""
    known = load(bundle, provider="cpu").predict_mean(images).probabilities.argmax(1)
    print("engine, precision, until: accuracy, answers changed, members an image")
    for engine in ("onnxruntime", "openvino"):
        for precision in ("float32", "int8"):
            ensemble = load(bundle, provider="cpu", engine=engine, precision=precision)
            for until in (None, "exact", 0.8):
                found = ensemble.predict_mean(images, until=until)
                answers = found.probabilities.argmax(1)
                used = MEMBERS if until is None else found.members_used.mean()
                print(
                    f"{engine}, {precision}, {until or 'all'}: {(answers == labels).mean():.4f}, "
                    f"{(answers != known).sum()}, {used:.3f}"
                )


if __name__ == "__main__":
    main()
