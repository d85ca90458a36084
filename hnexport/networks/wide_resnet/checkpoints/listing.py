"""What a checkpoint holds, in one line for messages: `hnet (38 tensors), mnet (21 tensors), epoch (int)`."""

import shlex
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hnexport.networks.wide_resnet.checkpoints.places import Entry, Place
from hnexport.networks.wide_resnet.checkpoints.torch_files import LeftOut
from hnexport.spelling import spelled
from hnexport.text import number_of, shorten

__all__ = ["counted", "kind_of", "listing", "option"]

_MOST = 12
_LONGEST = 60


def listing(entries: Sequence[Entry], places: Sequence[Place]) -> str:
    """The entries of a file with what they hold: networks by their path, everything else as briefly as it goes."""
    paths = sorted((place.path.split(".") if place.path else [] for place in places), key=len, reverse=True)
    groups: dict[str, list[Any]] = {}
    shared = _shared(entries) if not places else 0
    for entry in entries:
        parts = entry.parts
        path = next((path for path in paths if parts[: len(path)] == path), None)
        if path is None or (not path and len(paths) > 1):
            path = parts[: _first_of_its_own(parts, paths) + shared]
        groups.setdefault(".".join(path), []).append(entry.value)
    if not groups:
        return "nothing"
    named = [f"{_shown(path)} ({_count(values)})" for path, values in groups.items()]
    more = f" and {len(named) - _MOST} more" if len(named) > _MOST else ""
    return f"{', '.join(named[:_MOST])}{more}"


def counted(place: Place) -> str:
    """`'model.hnet' (38 tensors)`."""
    return f"{_shown(place.path)} ({_count(list(place.state.values()))})"


def kind_of(value: object) -> str:
    """What a value is, in a word."""
    return value.kind if isinstance(value, LeftOut) else type(value).__name__


def _shown(path: str) -> str:
    """A path as it stands in messages, quoted, of bounded length."""
    return repr(shorten(path, _LONGEST)) if path else "tensors without a prefix"


def option(role: str, path: str) -> str:
    """How to say where a network is: `--hnet-prefix model.hnet`, from Python `hnet_prefix='model.hnet'`."""
    return spelled(f"{role}_prefix={path!r}", f"--{role}-prefix {shlex.quote(path)}")


def _shared(entries: Sequence[Entry]) -> int:
    """How many parts all paths begin with in common, so that a listing of one container names what is in it."""
    if len(entries) < 2:
        return 0
    first, *rest = (entry.parts[:-1] for entry in entries)
    shared = 0
    while shared < len(first) and all(parts[: shared + 1] == first[: shared + 1] for parts in rest):
        shared += 1
    return shared


def _first_of_its_own(parts: Sequence[str], paths: Sequence[Sequence[str]]) -> int:
    """How many parts of a path it takes to tell it from all networks."""
    for end in range(1, len(parts) + 1):
        if not any(list(path[:end]) == list(parts[:end]) for path in paths):
            return end
    return len(parts)


def _count(values: Sequence[Any]) -> str:
    tensors = sum(isinstance(value, Tensor) for value in values)
    others = len(values) - tensors
    if others == len(values) == 1:
        return kind_of(values[0])
    told = [number_of(number, what) for number, what in ((tensors, "tensor"), (others, "value"))]
    return " and ".join(text for number, text in zip((tensors, others), told, strict=True) if number)
