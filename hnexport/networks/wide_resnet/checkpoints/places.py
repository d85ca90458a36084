"""Where in a checkpoint the networks' tensors are, whatever modules, wrappers and containers they were saved in.

hypnettorch's own tensor names (`_internal_params.0`, `_batchnorm_layers.0.mean_0`, …) are the landmark: a place is what
stands in front of them, as a dotted path through containers and modules (`state_dict.model.hnet`). Its names, or what
it holds, say whether it is a hypernetwork or a main network; where neither does, nobody guesses.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hnexport.errors import CheckpointError

__all__ = ["Entry", "Place", "distinct", "entries", "is_aside", "is_bookkeeping", "is_dense", "places", "role"]

_DEEPEST = 10
_MOST_ENTRIES = 500_000
_MOST_PLACES = 256
_WRAPPERS = frozenset(
    {"module", "model", "net", "network", "_orig_mod", "_forward_module"}
    | {"_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
_BETWEEN = _WRAPPERS - {"model", "net", "network"}  # may stand inside a network's names as well
_ROOTS = frozenset(
    {"_internal_params", "_layer_weight_tensors", "_layer_bias_vectors", "_batchnorm_layers", "_context_mod_layers"}
    | {"_weights"}
)
_LANDMARK = re.compile(r"(_internal_params|_layer_weight_tensors|_layer_bias_vectors)\.\d+|_batchnorm_layers\.\d+\.\w+")
_STATISTICS = re.compile(r"_batchnorm_layers\.\d+\.(mean|var)_\d+")
_NO_PLACE = re.compile(r"optim|sched|^grad(s|ients)?$", re.IGNORECASE)
_HYPERNETWORK = re.compile(r"(?<![a-z])(h_?nets?|hyper(_?net(work)?s?|_?model)?(?!_?param)|hn)(?![a-z])")
_MAIN_NETWORK = re.compile(r"(?<![a-z])(m_?nets?|(main|target|primary)(_?net(work)?s?|_?model)?)(?![a-z])")
_BOOKKEEPING = re.compile(
    r"n_averaged|epoch|(global_)?step|(lr_|grad_)?(optimizer|scheduler|scaler|criterion|metric|loss)[a-z_]*|best_[a-z_]+",
    re.IGNORECASE,
)


class Entry(NamedTuple):
    """One value of a checkpoint.

    Attributes:
        keys: the keys that lead to it, through all containers.
    """

    keys: tuple[str, ...]
    value: Any

    @property
    def parts(self) -> list[str]:
        """The same path, cut at the dots in keys as well."""
        return ".".join(self.keys).split(".")


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One network's tensors in a checkpoint.

    Attributes:
        path: what stands in front of their names, dotted; empty where nothing does.
        inner: the end of `path` that lies in the keys of one container, such as a state dict.
        container: the keys that lead to that container.
        role: `hnet` or `mnet`, where `path` names it.
        state: the tensors by hypnettorch's names; what the file holds there instead of a tensor stays as it is.
    """

    path: str
    inner: str
    container: tuple[str, ...]
    role: str | None
    state: Mapping[str, Any]

    @property
    def tracks_statistics(self) -> bool:
        """Whether it holds batch-norm statistics, as main networks do."""
        return any(_STATISTICS.fullmatch(name) for name in self.state)

    @property
    def is_complete(self) -> bool:
        """Whether no trained tensor's number is left out."""
        numbers = {int(name.split(".")[1]) for name in self.state if re.fullmatch(r"_internal_params\.\d+", name)}
        return numbers == set(range(len(numbers)))

    def is_below(self, prefix: str) -> bool:
        """Whether `prefix` leads to it, as a whole path or as one in its own state dict."""
        return any(path == prefix or path.startswith(f"{prefix}.") for path in (self.path, self.inner))


def is_bookkeeping(part: str) -> bool:
    """Whether what lies below a name is the optimiser's or the schedule's: it may repeat the networks' tensor names."""
    return _NO_PLACE.search(part) is not None


def role(name: str) -> str | None:
    """Which network a name speaks of: `hnet` for `hyper_network`, `mnet` for `main_network`, else None."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
    is_hypernetwork, is_main = _HYPERNETWORK.search(words), _MAIN_NETWORK.search(words)
    if bool(is_hypernetwork) == bool(is_main):
        return None
    return "hnet" if is_hypernetwork else "mnet"


def entries(path: object, content: Mapping[Any, Any]) -> list[Entry]:
    """Every value in the file's containers.

    Raises:
        CheckpointError: there are more than a checkpoint has (containers may hold each other).
    """
    found: list[Entry] = []
    for entry in _walk(content, ()) if content else ():
        if len(found) == _MOST_ENTRIES:
            raise CheckpointError(f"{path}: holds more than {_MOST_ENTRIES} entries; save the state dicts alone")
        found.append(entry)
    return found


_HOLDS = (Tensor, Mapping, list, tuple)


def _walk(value: Any, keys: tuple[str, ...]) -> Iterator[Entry]:
    if len(keys) < _DEEPEST and value:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _walk_key(inner, keys, key)
            return
        if isinstance(value, list | tuple) and any(isinstance(inner, _HOLDS) for inner in value):
            for number, inner in enumerate(value):
                yield from _walk_key(inner, keys, number)
            return
    yield Entry(keys=keys, value=value)


def _walk_key(value: Any, keys: tuple[str, ...], key: object) -> Iterator[Entry]:
    if isinstance(value, Mapping | list | tuple):
        yield from _walk(value, (*keys, str(key)))
    else:
        yield Entry(keys=(*keys, str(key)), value=value)


def places(path: object, found: Sequence[Entry]) -> list[Place]:
    """The networks in a file, in its order.

    Raises:
        CheckpointError: a tensor is there twice, with and without a wrapper in its name; or there are hundreds.
    """
    groups: dict[tuple[str, ...], list[tuple[Entry, list[str]]]] = {}
    for entry in found:
        parts = entry.parts
        at = next((position for position, part in enumerate(parts) if part in _ROOTS), None)
        if at is not None and not any(is_bookkeeping(part) for part in parts[:at]):
            groups.setdefault(tuple(parts[:at]), []).append((entry, parts[at:]))
    groups = {
        prefix: members
        for prefix, members in groups.items()
        if any(_LANDMARK.fullmatch(".".join(_without_wrappers(name))) for _, name in members)
    }
    if len(groups) > _MOST_PLACES:
        raise CheckpointError(f"{path}: holds {len(groups)} networks; save the state dicts of one ensemble alone")
    for prefix in sorted(groups, key=len, reverse=True):  # a hypernetwork inside another one belongs to it
        outer = next((prefix[:end] for end in range(len(prefix) - 1, -1, -1) if prefix[:end] in groups), None)
        if outer is not None and prefix[len(outer)].startswith("_") and prefix[len(outer)] not in _WRAPPERS:
            inside = list(prefix[len(outer) :])
            groups[outer].extend((entry, inside + name) for entry, name in groups.pop(prefix))
    _add_strangers(groups, found)
    return _merged([_place(path, prefix, members) for prefix, members in groups.items()])


def _add_strangers(groups: dict[tuple[str, ...], list[tuple[Entry, list[str]]]], found: Sequence[Entry]) -> None:
    """Add what else a network's own state dict holds under its prefix: it may be a part of the network."""
    known = {entry.keys for members in groups.values() for entry, _ in members}
    containers = {prefix: {entry.keys[:-1] for entry, _ in members} for prefix, members in groups.items()}
    for entry in found:
        if entry.keys in known or not isinstance(entry.value, Tensor):
            continue
        parts = entry.parts
        prefix = next((tuple(parts[:end]) for end in range(len(parts), -1, -1) if tuple(parts[:end]) in groups), None)
        if prefix is None or entry.keys[:-1] not in containers[prefix]:
            continue
        if not is_aside(parts[len(prefix) :], entry.value):
            groups[prefix].append((entry, parts[len(prefix) :]))


def is_aside(name: Sequence[str], tensor: Tensor) -> bool:
    """Whether a tensor beside a network's is surely no part of it: a criterion, a counter, what a schedule keeps."""
    is_counter = tensor.numel() == 1 and not tensor.is_floating_point() and not any(part[:1] == "_" for part in name)
    return is_counter or any(_BOOKKEEPING.fullmatch(part) for part in name[:2])


def _place(path: object, prefix: tuple[str, ...], members: Sequence[tuple[Entry, list[str]]]) -> Place:
    state: dict[str, Any] = {}
    for entry, parts in members:
        name = ".".join(_without_wrappers(parts))
        if name in state:
            raise CheckpointError(f"{path}: {'.'.join(entry.keys)!r} is there twice, with and without a wrapper's name")
        state[name] = entry.value
    container = members[0][0].keys[:-1]
    roles = (role(part) for part in reversed(prefix))
    return Place(
        path=".".join(prefix),
        inner=".".join(prefix[len(".".join(container).split(".")) if container else 0 :]),
        container=container,
        role=next((named for named in roles if named), None),
        state=state,
    )


def _without_wrappers(parts: Sequence[str]) -> list[str]:
    return [part for part in parts if part not in _BETWEEN]


def _merged(found: Sequence[Place]) -> list[Place]:
    """Join the parts of a network whose names have a wrapper in some places and none in others."""
    merged: list[Place] = []
    for place in found:
        for at, other in enumerate(merged):
            if _is_one_network(place, other):
                merged[at] = replace(other, state={**other.state, **place.state})
                break
        else:
            merged.append(place)
    return merged


def _is_one_network(place: Place, other: Place) -> bool:
    same = place.container == other.container and _bare(place) == _bare(other)
    in_parts = place.role is not None or not (place.is_complete and other.is_complete)
    return same and in_parts and not (place.state.keys() & other.state.keys())


def _bare(place: Place) -> list[str]:
    return [part for part in place.path.split(".") if part not in _WRAPPERS and part]


def distinct(candidates: Sequence[Place]) -> list[Place]:
    """Without those that hold what another one holds: a network that is in the file twice is no question."""
    kept: list[Place] = []
    for place in sorted(candidates, key=lambda place: len(place.path)):
        if not any(_is_same(place.state, other.state) for other in kept):
            kept.append(place)
    return [place for place in candidates if place in kept]


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(_is_equal(value, other[name]) for name, value in one.items())


def _is_equal(one: Any, other: Any) -> bool:
    if not (is_dense(one) and is_dense(other)) or one.dtype is not other.dtype or one.shape != other.shape:
        return False
    return (one.data_ptr() == other.data_ptr() and one.stride() == other.stride()) or torch.equal(one, other)


def is_dense(tensor: Any) -> bool:
    """Whether it is an ordinary tensor, for which the file holds as many numbers as its shape says."""
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_quantized:
        return False
    return tensor.device.type == "cpu" and tensor.numel() <= tensor.untyped_storage().nbytes() // tensor.element_size()
