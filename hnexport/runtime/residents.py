"""The members whose plain networks are kept: least recently used out, safe under threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_CONDITIONS", "Arrays", "ConditionalPredictor", "Predictor", "ResidentMembers"]

# inputs or outputs by the names of the signature
Arrays = Mapping[str, NDArray[np.generic]]
# inputs -> outputs
Predictor = Callable[[Arrays], Arrays]
# member, inputs -> outputs
ConditionalPredictor = Callable[[int, Arrays], Arrays]
NO_CONDITIONS: Arrays = MappingProxyType({})
_Key = tuple[int, tuple[bytes, ...]]
"""A member, and each of its conditions; their shapes and dtypes are fixed."""


class ResidentMembers:
    """At most `limit` members' predictors; `materialise` makes one, of a member and conditions.

    A member is kept once for each of the conditions that it was asked with, where there are any: the bytes of these are
    the key, so that the same numbers are the same object.

    A predictor that is dropped while another thread runs it lives until that run ends: that thread holds a reference.
    Members are made one at a time, since making one takes about three times the memory of keeping it; members that are
    there are handed out meanwhile. A member that several threads ask for at once is made once.
    """

    def __init__(self, materialise: Callable[[int, Arrays], Predictor], limit: int) -> None:
        self.limit = limit
        self._materialise = materialise
        self._predictors: OrderedDict[_Key, Predictor] = OrderedDict()
        self._lock = threading.Lock()  # guards the dictionary, held for moments
        self._making = threading.Lock()

    @property
    def members(self) -> tuple[int, ...]:
        """The members that are kept, least recently used first; one stands there once for each of its conditions."""
        with self._lock:
            return tuple(member for member, _ in self._predictors)

    def predictor(self, member: int, conditions: Arrays = NO_CONDITIONS) -> Predictor:
        """The member's predictor with these conditions, made if it is not there."""
        key: _Key = (member, tuple(array.tobytes() for array in conditions.values()))
        found = self._find(key)
        if found is not None:
            return found
        with self._making:
            found = self._find(key)  # another thread may have made it while this one waited
            if found is not None:
                return found
            with self._lock:  # room first, so that not even for a moment more than `limit` are kept
                dropped = [self._predictors.popitem(last=False) for _ in range(len(self._predictors) - self.limit + 1)]
            del dropped
            made = self._materialise(member, conditions)
            with self._lock:
                self._predictors[key] = made
            return made

    def _find(self, key: _Key) -> Predictor | None:
        with self._lock:
            found = self._predictors.get(key)
            if found is not None:
                self._predictors.move_to_end(key)
            return found
