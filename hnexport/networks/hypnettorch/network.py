"""The main network as the other half: hypnettorch's own forward, over slots with names."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hnexport.dotted import register
from hnexport.networks.hypnettorch.live import Live

__all__ = ["MainNetwork", "Probe", "taking"]


class Probe(nn.Module):
    """A main network as it is captured for one member: its weights are `weights.0`, …, its own tensors in `main`."""

    def __init__(self, live: Live, weights: Sequence[Tensor], member: int) -> None:
        super().__init__()
        self.main = live.mnet
        self.weights = nn.ParameterList([nn.Parameter(weight, requires_grad=False) for weight in weights])
        self._live = (live, live.conditions[member])

    def forward(self, x: Tensor) -> Any:
        """What hypnettorch's forward returns, the batch first."""
        live, condition = self._live
        return live.predict(x, list(self.weights), condition, {})


class MainNetwork(nn.Module):
    """A main network whose parameters and buffers are the slots.

    Attributes:
        own: for each slot that is no generated weight its name in the main network.
    """

    def __init__(
        self,
        live: Live,
        weights: Sequence[str | None],
        own: Mapping[str, str],
        tensors: Mapping[str, Tensor],
        given: Sequence[Tensor],
    ) -> None:
        """Take `tensors`, a value of each slot, as they are.

        Args:
            weights: the slot of each generated weight; where there is none, `given` is used, and of no effect.
        """
        super().__init__()
        for name, tensor in tensors.items():
            register(self, name, tensor, trained=name in weights)
        self.own = dict(own)
        self._weights = tuple(weights)
        self._given = tuple(given)
        self._live = (live,)  # in a tuple: not a submodule

    def forward(self, x: Tensor) -> Any:
        """What hypnettorch's forward returns, the batch first."""
        (live,) = self._live
        own = {name: self._get(slot) for slot, name in self.own.items()}
        pairs = zip(self._weights, self._given, strict=True)
        weights = [given if name is None else self._get(name) for name, given in pairs]
        return live.predict(x, weights, live.conditions[0], own)

    def _get(self, name: str) -> Tensor:
        owner, _, leaf = name.rpartition(".")
        return getattr(self.get_submodule(owner), leaf)  # type: ignore[no-any-return]


def taking(kind: type[nn.Module], name: str) -> type[Any]:
    """The same class, whose one input is called `name`."""

    def forward(self: Any, *positional: Tensor, **named: Tensor) -> Any:
        (x,) = (*positional, *named.values())
        return kind.forward(self, x)

    parameters = [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in ("self", name)]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return type(kind.__name__, (kind,), {"forward": forward})
