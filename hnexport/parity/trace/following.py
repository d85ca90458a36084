"""Follow what depends on some tensors through everything that PyTorch computes, whichever program computes it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Following", "operation"]

Sources = tuple[int, ...]


def operation(operator: Any) -> str:
    """The name of an operator without its overload, or of an operation on functions like `torch.cond`."""
    return str(getattr(operator, "overloadpacket", operator).__name__)


class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that knows what comes from which source: eager PyTorch, TorchScript and `.pt2` are all seen.

    A source is a number that the subclass gives to a value; inputs have none. Every tensor that is followed is kept, so
    that no identity is used twice. `torch.cond` is one operator, which is given what both branches read, and nothing in
    it is seen.

    Attributes:
        step: how many operators ran.
    """

    supports_higher_order_operators = True

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step = 0
        self._kept: list[Tensor] = []
        self._sources: dict[int, Sources] = {}
        for tensor in inputs:
            self.follow(tensor, ())

    def follow(self, tensor: Tensor, sources: Sources) -> None:
        """From now on the tensor comes from these sources."""
        if id(tensor) not in self._sources:
            self._kept.append(tensor)
        self._sources[id(tensor)] = sources

    def sources(self, tensor: Tensor) -> Sources | None:
        """What a tensor comes from; None where it does not depend on the inputs."""
        return self._sources.get(id(tensor))

    def fixed(self, operator: Any, operands: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Called where nothing that an operator was given depends on the inputs."""

    def computed(
        self, operator: Any, args: tuple[Any, ...], operands: Sequence[Tensor], result: Tensor, sources: Sources
    ) -> Sources:
        """Called for each result that depends on the inputs; returns what it is a source of."""
        raise NotImplementedError

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.step += 1
        operands = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        results = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        known = [found for found in map(self.sources, operands) if found is not None]
        if not known:
            self.fixed(func, operands, results)
            return result
        sources = tuple(sorted({number for numbers in known for number in numbers}))
        for one in results:
            own = self.computed(func, args, operands, one, sources)
            self.follow(one, own)
            if any(one is operand for operand in operands):
                self._written(one, own)
        return result

    def _written(self, tensor: Tensor, sources: Sources) -> None:
        """What was written in place is seen through every tensor over the same memory."""
        memory = _memory(tensor)
        for other in tuple(self._kept):
            if other is not tensor and _memory(other) == memory:
                self.follow(other, tuple(sorted({*self._sources[id(other)], *sources})))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
