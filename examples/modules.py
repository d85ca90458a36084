"""A plain list of PyTorch modules, from training code to a verified bundle and its predictions, in a few seconds.

    python examples/modules.py [--out FOLDER]

Four small networks are trained for a moment on points of two classes, exported as one graph, loaded without PyTorch,
and asked how sure they are: between the classes and far from all points they disagree.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble, Logits
from hnexport.build import build
from hnexport.runtime import load

MEMBERS = 4


class Classifier(nn.Module):
    """`point: float32 [batch, 2] -> logits [batch, 2]`."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 32)
        self.norm = nn.LayerNorm(32)
        self.out = nn.Linear(32, 2)

    def forward(self, point: Tensor) -> Tensor:
        """Logits of points."""
        return self.out(F.gelu(self.norm(self.hidden(point))))


def main() -> None:
    parser = argparse.ArgumentParser(description="A list of modules, exported.")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; default: a temporary folder")
    arguments = parser.parse_args()
    networks = [train(seed) for seed in range(MEMBERS)]
    ensemble = Ensemble.from_modules(
        networks, example_inputs=torch.zeros(1, 2), outputs={"logits": Logits(axis=1)}, origin="examples/modules.py"
    )
    with tempfile.TemporaryDirectory() as temporary:
        bundle = build(ensemble, (arguments.out or Path(temporary)) / ensemble.name).path
        loaded = load(bundle)
        points = np.array([[1.5, 0.0], [-1.5, 0.0], [0.0, 0.0], [0.0, 9.0]], dtype=np.float32)
        mean = loaded.predict_mean(points)
        print("point, mean probabilities, mutual information")
        for point, probabilities, disagreement in zip(points, mean.probabilities, mean.mutual_information, strict=True):
            print(f"  {point}: {probabilities.round(3)}, {disagreement:.4f}")


def train(seed: int) -> nn.Module:
    """A member: two clouds of points, told apart."""
    torch.manual_seed(seed)
    network = Classifier()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(100):
        label = torch.randint(0, 2, (64,))
        point = torch.randn(64, 2) * 0.7 + torch.stack([3.0 * label - 1.5, torch.zeros(64)], dim=1)
        optimiser.zero_grad()
        F.cross_entropy(network(point), label).backward()
        optimiser.step()
    return network.eval()


if __name__ == "__main__":
    main()
