"""What a run of the reference costs, estimated from what it computes: the same on every machine, so that the members,
samples and draws that fit into a budget of time are the same on every machine too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hnexport.ensemble import Ensemble
from hnexport.parity.double import run_single

__all__ = ["counted_seconds", "estimated_seconds"]

T = TypeVar("T")
_FLOPS = 5e10  # a second of float64 on two cores
_CALL_SECONDS = 3e-5


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations and their floating-point operations, also in the branches of `torch.cond`."""

    supports_higher_order_operators = True
    calls = 0
    flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls += 1
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(getattr(func, "overloadpacket", None))
        if count is not None:
            self.flops += int(count(*args, **(kwargs or {}), out_val=found))
        return found


def estimated_seconds(ensemble: Ensemble, member: int, inputs: Mapping[str, NDArray[np.generic]]) -> float:
    """About how long one run in float64 takes; it is run once to find out what it computes."""
    return counted_seconds(lambda: run_single(ensemble, member, inputs))[1]


def counted_seconds(run: Callable[[], T]) -> tuple[T, float]:
    """What a run returns, and about how long it takes in float64."""
    counter = _Counter()  # type: ignore[no-untyped-call]
    with counter:
        found = run()
    return found, counter.flops / _FLOPS + counter.calls * _CALL_SECONDS
