"""The hypnettorch tutorial "Chunking strategies for a Wide-ResNet", with hnexport, and on to the exported files.

    python examples/tutorial.py [--network wrn-28-10] [--out FOLDER]

Both recipes: a structured hypernetwork that generates the convolutions ("Economical ensembles with hypernetworks",
arXiv 2007.12927v1, since v4 "Neural networks with late-phase weights", ICLR 2021), and a batch ensemble (arXiv
2002.06715). For each one the weight counts, the predictions of members 2, 3 and 7, and the same predictions from every
exported file.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from hnexport import RECIPES, HypernetSpec, Pipeline, PipelineSpec, WideResNetSpec, weight_summary
from hnexport.build import build
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.runtime import load

MEMBERS = 10
SHOWN = [2, 3, 7]


def main() -> None:
    parser = argparse.ArgumentParser(description="The tutorial's two ensembles, exported.")
    parser.add_argument("--network", default="wrn-28-10")
    parser.add_argument("--out", type=Path, help="where the two bundles are kept; default: a temporary folder")
    arguments = parser.parse_args()
    network = WideResNetSpec.from_name(arguments.network)
    hypernet = PipelineSpec(network=network, members=MEMBERS, recipe=RECIPES["hypernet"], hypernet=HypernetSpec())
    batch_ensemble = PipelineSpec(network=network, members=MEMBERS, recipe=RECIPES["batch-ensemble"], hypernet=None)
    with tempfile.TemporaryDirectory() as temporary:
        for spec in (hypernet, batch_ensemble):
            show(spec, (arguments.out or Path(temporary)) / spec.name)


def show(spec: PipelineSpec, folder: Path) -> None:
    """One ensemble, from weight counts to the predictions of the exported files."""
    print(f"\n{spec.name}")
    for label, value in weight_summary(spec).items():
        print(f"  {label}: {value:,}" if isinstance(value, int) else f"  {label}: {value:.2f}")

    pipeline = Pipeline.from_seed(spec, seed=0)
    random = torch.Generator().manual_seed(1)
    image = torch.rand((1, *spec.network.image.shape), generator=random)
    with torch.inference_mode():
        logits = pipeline.ensemble(SHOWN, image)
    print_predictions("PyTorch", logits.numpy())

    bundle = build(Checkpoint(spec=spec, tensors=pipeline.tensors(), origin="the tutorial"), folder)
    print_predictions("ONNX, hnexport.runtime", load(bundle.path).predict(image.numpy(), members=SHOWN))
    torchscript = torch.jit.load(bundle.path / "model.pt")
    print_predictions("TorchScript", stack(torchscript, image))
    print_predictions(".pt2", stack(torch.export.load(bundle.path / "model.pt2").module(), image))


def stack(module: torch.nn.Module, image: torch.Tensor) -> np.ndarray:
    """Logits [member, batch, class] of an exported module."""
    with torch.inference_mode():
        return torch.stack([module(torch.tensor(member), image) for member in SHOWN]).numpy()


def print_predictions(source: str, logits: np.ndarray) -> None:
    """Class probabilities, as the tutorial prints them."""
    print(f"  {source}")
    for member, row in zip(SHOWN, torch.from_numpy(logits).softmax(dim=-1).numpy(), strict=True):
        print(f"    Prediction of ensemble member {member}: {np.array2string(row, precision=3, separator=', ')}")


if __name__ == "__main__":
    main()
