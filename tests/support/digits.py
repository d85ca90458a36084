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

MEMBERS, TRAINED, HELD = 3, 900, 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images float32 `[sample, 1, 8, 8]` from 0 to 1, and digits int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


@functools.cache
def splits() -> tuple[Split, Split, Split]:
    """To train on, held out, and to test with."""
    found = load_digits()
    images = (found.images / 16).astype(np.float32)[:, np.newaxis]
    labels = found.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    parts = np.split(order, [TRAINED, TRAINED + HELD])
    return tuple(Split(images=images[part], labels=labels[part]) for part in parts)  # type: ignore[return-value]


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
        return Ensemble.from_modules(
            self.modules(), example_inputs={"input": example}, outputs={"logits": Logits()}, name="digits-3"
        )


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
