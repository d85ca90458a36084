"""Points of comparison: every value that a reference computes on the way from inputs to outputs, with a name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.parity.trace.following import Following, Sources, operation

__all__ = ["ROOT", "Point", "Reference", "reference_points", "towards"]

Array = NDArray[np.generic]

PREPROCESS = "preprocess"
"""The place of what a network does itself, before it calls its first module."""
ROOT = "network"
"""The place of what a network does itself, after that."""
# Functions that belong to the layer before them.
_ACTIVATIONS = frozenset(
    f"{name}{place}" for name in ("relu", "gelu", "silu", "tanh", "sigmoid", "elu", "leaky_relu") for place in ("", "_")
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One floating-point value of a reference.

    Attributes:
        place: the path of the module that computes it, or `PREPROCESS` or `ROOT`.
        operation: what computes it, in PyTorch's words or ONNX's.
        inputs: the points that it depends on directly.
    """

    place: str
    operation: str
    value: Array
    inputs: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What an artifact is compared with.

    Attributes:
        points: in the order in which they are computed; the outputs are among them, where they are floating-point.
        outputs: by the names of the bundle's signature.
    """

    points: tuple[Point, ...]
    outputs: Mapping[str, Array]


def reference_points(ensemble: Ensemble, weights: Mapping[str, Tensor], inputs: Mapping[str, Array]) -> Reference:
    """Run an ensemble's network and keep every value that depends on the inputs and on which an output depends.

    Args:
        weights: the network's tensors, in the dtype to compute in: float64 for the reference.
        inputs: by name; floating-point ones are given in the dtype of the weights.
    """
    dtype = next((tensor.dtype for tensor in weights.values() if tensor.is_floating_point()), torch.float64)
    given = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}
    given = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    recorder = _Points(tuple(given.values()))
    with torch.no_grad(), recorder.within(ensemble.network), recorder:
        outputs = ensemble.run(weights, given)
    ends = [number for tensor in outputs.values() for number in recorder.sources(tensor) or ()]
    return Reference(
        points=towards(ends, recorder.points),
        outputs={name: tensor.detach().numpy() for name, tensor in outputs.items()},
    )


def towards(ends: Iterable[int], points: Sequence[Point]) -> tuple[Point, ...]:
    """The points on which some of them depend, and these: exporters drop the others, as nothing needs them."""
    needed = set(ends)
    for number in reversed(range(len(points))):
        if number in needed:
            needed.update(points[number].inputs)
    kept = {number: position for position, number in enumerate(sorted(needed))}
    return tuple(
        replace(points[number], inputs=tuple(kept[source] for source in points[number].inputs)) for number in kept
    )


class _Points(Following):  # type: ignore[no-untyped-call]
    """Makes a point of each floating-point value; what is not floating-point hands on what it comes from."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__(inputs)
        self.points: list[Point] = []
        self._stack: list[tuple[str, bool]] = []
        self._entered = False

    @contextmanager
    def within(self, network: nn.Module) -> Iterator[None]:
        """Know in which module of the network each value is computed."""
        hooks = []
        for name, module in network.named_modules():
            entry = (name, next(module.children(), None) is None)
            hooks.append(module.register_forward_pre_hook(lambda *_, entry=entry: self._enter(entry)))
            hooks.append(module.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, entry: tuple[str, bool]) -> None:
        self._stack.append(entry)
        self._entered = self._entered or bool(entry[0])

    def _leave(self) -> None:
        self._stack.pop()

    def computed(
        self, operator: Any, args: tuple[Any, ...], operands: Sequence[Tensor], result: Tensor, sources: Sources
    ) -> Sources:
        if not result.is_floating_point() or not result.numel():
            return sources
        name = operation(operator)
        value = result.detach().clone().cpu().numpy()
        place = self._place(name, sources)
        self.points.append(Point(place=place, operation=name, value=value, inputs=sources))
        return (len(self.points) - 1,)

    def _place(self, computed_by: str, sources: Sources) -> str:
        name, is_leaf = self._stack[-1] if self._stack else ("", False)
        if not is_leaf and computed_by in _ACTIVATIONS and len(sources) == 1:
            return self.points[sources[0]].place
        return name or (ROOT if self._entered else PREPROCESS)
