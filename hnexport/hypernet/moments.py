"""What the activations of an internal hypernetwork do to second moments: initial weights are scaled by it."""

import math

import numpy as np
import torch

from hnexport.hypernet.generator import ACTIVATIONS
from hnexport.spec import Activation, HypernetSpec

__all__ = ["activation_moment"]


def activation_moment(settings: HypernetSpec) -> float:
    """E[f(z)^2] for a standard normal z, by Gauss-Hermite quadrature."""
    if settings.activation is Activation.NONE:
        return 1.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    values = ACTIVATIONS[settings.activation](torch.from_numpy(nodes)).numpy()
    return float((weights * values**2).sum() / math.sqrt(2.0 * math.pi))
