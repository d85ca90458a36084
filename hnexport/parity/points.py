"""Points of comparison: every value that the float64 reference computes between image and logits, with a name."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hnexport.networks.wide_resnet.pipeline import Pipeline

__all__ = ["Point", "reference_points"]

_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One value of the reference.

    Attributes:
        place: the layer or block that computes it, `preprocess` before the network and `pool` after its last layer.
        operation: what computes it, in PyTorch's words.
        inputs: the points that it depends on directly.
    """

    place: str
    operation: str
    value: NDArray[np.generic]
    inputs: tuple[int, ...]


def reference_points(
    pipeline: Pipeline, weights: Mapping[str, Tensor], images: NDArray[np.generic]
) -> tuple[Point, ...]:
    """Run the main network and keep every value that depends on the images.

    Args:
        weights: the main network's tensors, in the pipeline's dtype: float64 for the reference.
    """
    batch = torch.from_numpy(images)
    if batch.is_floating_point():
        batch = batch.to(next(iter(weights.values())).dtype)
    recorder = _Points(batch)
    with torch.no_grad(), recorder.following(pipeline._skeleton[0]), recorder:
        pipeline.classify(weights, batch)
    return tuple(recorder.points)


class _Points(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the images; every result is kept, so that no identity is used twice."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.points: list[Point] = []
        self._kept: list[Any] = [images]
        self._sources: dict[int, tuple[int, ...]] = {id(images): ()}
        self._stack: list[str] = []

    @contextmanager
    def following(self, network: nn.Module) -> Iterator[None]:
        """Know in which module of the network each value is computed."""
        hooks = []
        for name, module in network.named_modules():
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: self._stack.append(name)))
            hooks.append(module.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _leave(self) -> None:
        self._stack.pop()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple | list) else result
        tensors = [item for item in args if isinstance(item, Tensor)]
        known = [self._sources[id(item)] for item in tensors if id(item) in self._sources]
        if not known or not isinstance(output, Tensor):
            return result
        self._kept.append(output)
        inputs = tuple(sorted({number for numbers in known for number in numbers}))
        operation = func.overloadpacket.__name__
        if not output.is_floating_point():
            self._sources[id(output)] = inputs
            return result
        place = self._place(operation)
        self._sources[id(output)] = (len(self.points),)
        self.points.append(
            Point(place=place, operation=operation, value=output.detach().clone().numpy(), inputs=inputs)
        )
        return result

    def _place(self, operation: str) -> str:
        if not self._stack:
            return "preprocess"
        if operation == "relu" and self.points:
            return self.points[-1].place
        return self._stack[-1] or "pool"
