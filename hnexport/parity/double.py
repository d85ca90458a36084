"""Running an ensemble in float64 on the CPU, whatever its network says about dtypes, or in float32 as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hnexport.ensemble import Ensemble
from hnexport.programs.widened import Widened

__all__ = ["conditions_of", "run_double", "run_single", "run_weights"]

Array = NDArray[np.generic]


def run_double(
    ensemble: Ensemble, member: int, inputs: Mapping[str, Array], mode: TorchDispatchMode | None = None
) -> dict[str, Array]:
    """The outputs of one member by name, in float64; those that are not floating-point as they are.

    Args:
        ensemble: `Ensemble.double()` of the one that is meant.
        mode: another way to compute than `Widened`.
    """
    tensors = {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in _tensors(inputs).items()
    }
    with torch.no_grad(), mode or Widened():
        outputs = ensemble(member, tensors)
    return {name: tensor.numpy() for name, tensor in outputs.items()}


class _AsItIs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Changes nothing: but under a mode `torch.cond` runs its branch, where it would compile both otherwise."""

    supports_higher_order_operators = True

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def run_single(ensemble: Ensemble, member: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of one member by name, as PyTorch computes them eagerly."""
    with torch.no_grad(), _AsItIs():  # type: ignore[no-untyped-call]
        outputs = ensemble(member, _tensors(inputs))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def run_weights(ensemble: Ensemble, weights: Mapping[str, Tensor], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The network's outputs by name with these weights, as PyTorch computes them eagerly."""
    with torch.no_grad():
        outputs = ensemble.run(weights, _tensors(inputs))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def conditions_of(ensemble: Ensemble, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
    """The conditions among the inputs."""
    return _tensors({name: inputs[name] for name in ensemble.signature.conditions})


def _tensors(inputs: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
