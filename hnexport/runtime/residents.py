"""The members whose plain networks are kept: least recently used out, safe under threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "ConditionalPredictor", "Predictor", "ResidentMembers"]

# inputs or outputs by the names of the signature
Arrays = Mapping[str, NDArray[np.generic]]
# inputs -> outputs
Predictor = Callable[[Arrays], Arrays]
# member, inputs -> outputs
ConditionalPredictor = Callable[[int, Arrays], Arrays]


class ResidentMembers:
    """At most `limit` members' predictors; `materialise` makes one.

    A predictor that is dropped while another thread runs it lives until that run ends: that thread holds a reference.
    Members are made one at a time, since making one takes about three times the memory of keeping it; members that are
    there are handed out meanwhile. A member that several threads ask for at once is made once.
    """

    def __init__(self, materialise: Callable[[int], Predictor], limit: int) -> None:
        self.limit = limit
        self._materialise = materialise
        self._predictors: OrderedDict[int, Predictor] = OrderedDict()
        self._lock = threading.Lock()  # guards the dictionary, held for moments
        self._making = threading.Lock()

    @property
    def members(self) -> tuple[int, ...]:
        """The members that are kept, least recently used first."""
        with self._lock:
            return tuple(self._predictors)

    def predictor(self, member: int) -> Predictor:
        """The member's predictor, made if it is not there."""
        found = self._find(member)
        if found is not None:
            return found
        with self._making:
            found = self._find(member)  # another thread may have made it while this one waited
            if found is not None:
                return found
            with self._lock:  # room first, so that not even for a moment more than `limit` are kept
                dropped = [self._predictors.popitem(last=False) for _ in range(len(self._predictors) - self.limit + 1)]
            del dropped
            made = self._materialise(member)
            with self._lock:
                self._predictors[member] = made
            return made

    def _find(self, member: int) -> Predictor | None:
        with self._lock:
            found = self._predictors.get(member)
            if found is not None:
                self._predictors.move_to_end(member)
            return found
