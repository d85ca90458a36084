"""Measurements that ship with scikit-learn, and an ensemble that is trained on them within seconds: a value."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from torch import nn

from hnexport.ensemble import Ensemble

TRAINED = 300


def measured() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Features `[sample, 10]` and targets `[sample, 1]`, both about as large as 1."""
    data = load_diabetes()
    return data.data.astype(np.float32) * np.float32(20), (data.target[:, np.newaxis] - 150) / 75


def held_out() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Those that nothing is trained on."""
    features, targets = measured()
    return features[TRAINED:], targets[TRAINED:]


@dataclass(frozen=True)
class TrainedRegressors:
    """Three small networks that predict how a disease goes on."""

    def ensemble(self) -> Ensemble:
        features, targets = (torch.from_numpy(part[:TRAINED].astype(np.float32)) for part in measured())
        modules = []
        for seed in range(3):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                module = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
                optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
                for _ in range(60):
                    optimiser.zero_grad()
                    (module(features) - targets).square().mean().backward()
                    optimiser.step()
            modules.append(module.eval())
        return Ensemble.from_modules(modules, example_inputs={"input": features[:2]}, name="diabetes-3")
