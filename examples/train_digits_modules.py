"""A deep ensemble of five plain modules, trained on real handwriting, exported, and judged where it will run.

    pip install "hnexport[examples]"
    python examples/train_digits_modules.py [--out FOLDER]

The digits of examples/train_digits.py, and five convolutional networks that are trained one after the other as anybody
trains one, each from a start of its own. Nothing is said to hnexport about their architecture. It takes less than a
minute on two cores.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from train_digits import USAGE, digits, judge

from hnexport import Ensemble, Logits
from hnexport.build import build

MEMBERS, EPOCHS, BATCH = 5, 10, 64


class Classifier(nn.Module):
    """`image: uint8 [batch, 8, 8, 1] -> logits [batch, 10]`: pixels in, so that nobody can normalise them otherwise."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, padding=1, stride=2), nn.BatchNorm2d(64), nn.ReLU()),
        )
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of pictures."""
        x = (image.permute(0, 3, 1, 2) / 255.0 - self.mean) / self.std
        return self.head(self.dropout(self.features(x).mean((2, 3))))


def main() -> None:
    parser = argparse.ArgumentParser(description="A deep ensemble of plain modules, trained on digits and exported.")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; default: a temporary folder")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    train_images, images, train_labels, labels = digits()
    networks = [train(seed, train_images, train_labels, arguments.epochs) for seed in range(MEMBERS)]
    ensemble = Ensemble.from_modules(
        networks,
        example_inputs={"image": torch.from_numpy(images[:2])},
        outputs={"logits": Logits(axis=1)},
        origin="examples/train_digits_modules.py",
    ).with_usage(USAGE)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = build(ensemble, (arguments.out or Path(temporary)) / "digits-modules").path
        judge(bundle, images, labels)


def train(
    seed: int,
    pixels: NDArray[np.uint8],
    answers: NDArray[np.int64],
    epochs: int,
    make: Callable[[float, float], nn.Module] = Classifier,
    rate: float = 0.01,
) -> nn.Module:
    """A member: weights, and the order of its batches, of its own."""
    torch.manual_seed(seed)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(answers)
    network = make(float(pixels.mean() / 255), float(pixels.std() / 255))
    steps = epochs * (len(images) // BATCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            optimiser.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


if __name__ == "__main__":
    main()
