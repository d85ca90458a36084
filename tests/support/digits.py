"""Real handwriting that ships with scikit-learn, and an ensemble that is trained on it within seconds."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from hnexport.ensemble import Ensemble
from hnexport.spec.kinds import Logits
from hnexport.spec.usage import Normalisation, Usage

MEMBERS, TRAINED, HELD = 3, 900, 400
USAGE = Usage(
    normalisation=Normalisation(mean=(0.3,), std=(0.35,)),
    class_names={"logits": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Pixels uint8 `[sample, 8, 8]`, images float32 `[sample, 1, 8, 8]` as the network takes them, digits int64."""

    pixels: NDArray[np.uint8]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]


@functools.cache
def splits() -> tuple[Split, Split, Split]:
    """To train on, held out, and to test with.

    A digit has 17 levels of grey, 0 to 16. Fifteen times a level is a pixel, exactly, and the network is trained on
    these pixels: divided by 255, less the mean, divided by the standard deviation, each step in float32.
    """
    found = load_digits()
    pixels = (15 * found.images).astype(np.uint8)
    mean, std = (np.float32(said) for said in (0.3, 0.35))
    images = ((pixels.astype(np.float32) / np.float32(255) - mean) / std)[:, np.newaxis]
    labels = found.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    parts = np.split(order, [TRAINED, TRAINED + HELD])
    made = (Split(pixels=pixels[part], images=images[part], labels=labels[part]) for part in parts)
    return tuple(made)  # type: ignore[return-value]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


@dataclass(frozen=True)
class TrainedDigits:
    """Three networks, sure of themselves, as one trains them."""

    epochs: int = 12

    def modules(self) -> list[nn.Module]:
        return [_trained(seed, self.epochs) for seed in range(MEMBERS)]

    def ensemble(self) -> Ensemble:
        example = torch.from_numpy(splits()[2].images[:2])
        ensemble = Ensemble.from_modules(
            self.modules(), example_inputs={"input": example}, outputs={"logits": Logits()}, name="digits-3"
        )
        return ensemble.with_usage(USAGE)


def _trained(seed: int, epochs: int) -> nn.Module:
    train = splits()[0]
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = network()
        optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(60):
                optimiser.zero_grad()
                F.cross_entropy(module(images[rows]), labels[rows]).backward()
                optimiser.step()
    return module.eval()
