"""The state dicts of a hypnettorch ensemble in files as people have them.

Networks may be wrapped (DataParallel, torch.compile, a module of both, …) and lie in containers beside anything else;
`places` finds them. Which one is which is said by its names or by what it holds. Where several could be meant, the
error names them, and a prefix says which.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.files import existing_file, sha256
from hnexport.networks.wide_resnet.checkpoints.listing import counted, kind_of, listing, option
from hnexport.networks.wide_resnet.checkpoints.places import (
    Entry,
    Place,
    distinct,
    entries,
    is_bookkeeping,
    is_dense,
    places,
    role,
)
from hnexport.networks.wide_resnet.checkpoints.torch_files import HOW_TO_SAVE, LeftOut, read_content

__all__ = ["StateDicts", "read_state_dicts"]

_log = logging.getLogger(__name__)

_NETWORKS = {"hnet": "hypernetwork", "mnet": "main network"}


@dataclass(frozen=True, kw_only=True)
class StateDicts:
    """What a hypnettorch checkpoint holds.

    Attributes:
        hnet: the hypernetwork's state dict.
        mnet: the main network's, which holds the batch-norm statistics; None where there is none.
        origin: one line, for instance `hypnettorch ensemble.pt (sha256 …)`.
        read: what was read and what else there is, for messages.
    """

    hnet: Mapping[str, Tensor]
    mnet: Mapping[str, Tensor] | None
    origin: str
    read: str = ""


def read_state_dicts(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    hnet: str | os.PathLike[str] | None = None,
    mnet: str | os.PathLike[str] | None = None,
    hnet_prefix: str | None = None,
    mnet_prefix: str | None = None,
) -> StateDicts:
    """Read the two state dicts from one file, or from one file each.

    A file holds them under any names, in containers and behind the prefixes of wrapper modules, beside anything else
    (optimizer, criterion, epoch). A `checkpoint` that holds a single state dict is the hypernetwork's. A network that
    is there twice with the same numbers is read once; where several differ, `hnet_prefix` and `mnet_prefix` say which.

    Args:
        checkpoint: one file with both networks.
        hnet: the hypernetwork's file.
        mnet: the main network's.
        hnet_prefix: what stands in front of the hypernetwork's tensor names, dotted, through the file's containers
            (`state_dict.model.hnet`).
        mnet_prefix: the same for the main network's.

    Raises:
        CheckpointError: a file is missing, damaged, holds no such state dict, or several that could be meant; or
            `checkpoint` was given together with `hnet` or `mnet`, or neither.
    """
    either = CheckpointError(
        "name either one checkpoint with both networks, or the hypernetwork's and the main network's"
    )
    if checkpoint is not None and hnet is not None:
        raise either
    if checkpoint is not None and mnet is not None:
        raise CheckpointError(
            f"{mnet}: the main network's file goes with the hypernetwork's, not with a common checkpoint"
        )
    prefixes = {name: text for name, text in (("hnet", hnet_prefix), ("mnet", mnet_prefix)) if text is not None}
    if checkpoint is not None:
        file = _File.read(existing_file(checkpoint))
        found = file.networks(prefixes)
        return StateDicts(hnet=found["hnet"], mnet=found.get("mnet"), origin=file.origin(prefixes), read=file.listing)
    if hnet is None:
        raise either
    if mnet is None and mnet_prefix is not None:
        raise CheckpointError(f"{option('mnet', mnet_prefix)} goes with the main network's file: give that too")
    paths = {"hnet": existing_file(hnet)} | ({} if mnet is None else {"mnet": existing_file(mnet)})
    files = {name: _File.read(path) for name, path in paths.items()}
    single = {name: file.network(name, prefixes.get(name)) for name, file in files.items()}
    origins = [file.origin({name: prefixes[name]} if name in prefixes else {}) for name, file in files.items()]
    return StateDicts(
        hnet=single["hnet"],
        mnet=single.get("mnet"),
        origin=" and ".join([origins[0], *(origin.removeprefix("hypnettorch ") for origin in origins[1:])]),
        read="; ".join(f"{name}: {file.listing}" for name, file in files.items()),
    )


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file, and the networks in it."""

    path: Path
    content: Mapping[str, Any]
    entries: Sequence[Entry]
    places: Sequence[Place]

    @classmethod
    def read(cls, path: Path) -> "_File":
        content = read_content(path)
        found = entries(path, content)
        return cls(path=path, content=content, entries=found, places=places(path, found))

    @property
    def listing(self) -> str:
        return f"{self.path.name} holds {listing(self.entries, self.places)}"

    def origin(self, prefixes: Mapping[str, str]) -> str:
        chosen = "".join(f", {name} from {prefix!r}" for name, prefix in prefixes.items())
        return f"hypnettorch {self.path.name} (sha256 {sha256(self.path)}){chosen}"

    def networks(self, prefixes: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
        """Both networks; the main network where there is one."""
        chosen: dict[str, Place | None] = {}
        for name in sorted(("hnet", "mnet"), key=lambda name: (name not in prefixes, name)):
            taken = [place for place in chosen.values() if place is not None]
            pool = [place for place in self.places if place not in taken]
            single = name == "hnet" and len(pool) == 1 and pool[0].role is None
            chosen[name] = self._choose(name, pool, prefixes.get(name), alone=single)
        self._tell(chosen)
        contents = {name: self._unnoticed(name) if place is None else place.state for name, place in chosen.items()}
        if contents["hnet"] is None:
            raise self._nothing("hnet")
        return {name: self._state_dict(name, contents[name]) for name in _NETWORKS if contents[name] is not None}

    def network(self, name: str, prefix: str | None) -> dict[str, Tensor]:
        """The network that the file was given for."""
        place = self._choose(name, self.places, prefix, alone=True)
        content = self._unnoticed(name) if place is None else place.state
        if content is None:
            raise self._nothing(name)
        return self._state_dict(name, content)

    def _choose(self, name: str, pool: Sequence[Place], prefix: str | None, *, alone: bool) -> Place | None:
        """The one place of a network; None where there is none.

        Args:
            alone: whether a place that does not look like it is taken too, since there is nothing else it could be.
        """
        if prefix is not None:
            pool = self._below(name, pool, prefix)
        unnamed = [place for place in pool if place.role is None]
        fitting = [place for place in unnamed if place.tracks_statistics == (name == "mnet")]
        choices = [[place for place in pool if place.role == name], fitting]
        if alone or prefix is not None:
            choices += [unnamed, list(pool)]
        candidates = distinct(next((choice for choice in choices if choice), []))
        if len(candidates) > 1:
            which = ", ".join(counted(place) for place in candidates)
            options = " or ".join(option(name, place.path) for place in candidates[:4])
            raise CheckpointError(
                f"{self.path}: {len(candidates)} places could be the {_NETWORKS[name]} ({name}): {which}; say which: "
                f"{options}. In all, {self.listing}"
            )
        return candidates[0] if candidates else None

    def _below(self, name: str, pool: Sequence[Place], prefix: str) -> Sequence[Place]:
        wanted = prefix.strip().removesuffix(".")
        exact = [place for place in self.places if place.path == wanted]
        found = exact or [place for place in pool if not wanted or place.is_below(wanted)]
        if not found:
            options = " or ".join(option(name, place.path) for place in self.places[:4])
            remedy = f"; say {options}" if options else f"; {HOW_TO_SAVE}"
            raise CheckpointError(
                f"{self.path}: {option(name, prefix)}: no tensors of hypnettorch lie there; {self.listing}{remedy}"
            )
        return found

    def _tell(self, chosen: Mapping[str, Place | None]) -> None:
        """Say which networks are left alone: a copy with other numbers may be what was meant."""
        used = [place for place in chosen.values() if place is not None]
        left = [place for place in self.places if place not in used and len(distinct([*used, place])) > len(used)]
        for place in left:
            name = place.role or ("mnet" if place.tracks_statistics or chosen["mnet"] is None else "hnet")
            _log.warning(
                "%s: %s is not used; if it is the %s to export, say %s",
                *(self.path.name, counted(place), _NETWORKS[name], option(name, place.path)),
            )
        if len(self.places) < len(self.entries):
            _log.info("%s: %s", self.path.name, self.listing)

    def _unnoticed(self, name: str) -> Any:
        """What the file has for a network without any of hypnettorch's tensor names; its reader says what it is.

        That is what lies under the network's name or behind it as a prefix, and for a hypernetwork every tensor of a
        file that holds no network at all. None where there is nothing.
        """
        behind: dict[str, Any] = {}
        plain: dict[str, Any] = {}
        for key, value in self._keys():
            may_be = isinstance(value, Mapping | list | tuple | LeftOut) or key == name
            if may_be and role(key) == name and not is_bookkeeping(key) and (key == name or _holds_tensors(value)):
                return None if name == "mnet" and value in (None, {}) else value
        for entry in self.entries:
            parts = entry.parts
            if isinstance(entry.value, Tensor) and not any(is_bookkeeping(part) for part in parts):
                at = next((at for at, part in enumerate(parts[:-1]) if role(part) == name), None)
                if at is not None:
                    behind[".".join(parts[at + 1 :])] = entry.value
                plain[entry.keys[-1]] = entry.value
        used = {id(tensor) for place in self.places for tensor in place.state.values()}
        behind = {key: tensor for key, tensor in behind.items() if id(tensor) not in used}
        return behind or (plain if name == "hnet" and not self.places else None) or None

    def _keys(self) -> Iterator[tuple[str, Any]]:
        """The keys of the outer containers and what lies there, breadth first."""
        level: list[Mapping[Any, Any]] = [self.content]
        for _ in range(3):
            for mapping in level:
                yield from ((str(key), value) for key, value in mapping.items())
            level = [value for mapping in level for value in mapping.values() if isinstance(value, Mapping)][:1000]

    def _nothing(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path}: expected the entries 'hnet' and 'mnet', found no {_NETWORKS[name]} of hypnettorch: "
            f"{self.listing}; {HOW_TO_SAVE}"
        )

    def _state_dict(self, name: str, content: Any) -> dict[str, Tensor]:
        """Check that `content` is a state dict of ordinary tensors."""
        remedy = f"{self.listing}; {HOW_TO_SAVE}"
        if not isinstance(content, Mapping) or (not content and name == "hnet"):
            never = ", and hnexport never runs code from a checkpoint" if isinstance(content, LeftOut) else ""
            raise CheckpointError(
                f"{self.path}: {name}: expected a state dict, found {kind_of(content)}{never}; {remedy}"
            )
        state = {}
        for key, tensor in content.items():
            where = f"{self.path}: {name} tensor {key!r}"
            if not isinstance(key, str) or not isinstance(tensor, Tensor):
                raise CheckpointError(f"{where}: expected a tensor, found {kind_of(tensor)}; {remedy}")
            if not is_dense(tensor):
                raise CheckpointError(f"{where}: {_not_dense(tensor)}")
            state[key] = tensor.detach()
        return state


def _holds_tensors(value: Any) -> bool:
    """Whether a container holds tensors, or is an object of which nobody can say."""
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return any(isinstance(one, Tensor | Mapping) for one in inner)
    return isinstance(value, LeftOut)


def _not_dense(tensor: Tensor) -> str:
    if tensor.device.type != "cpu" or str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        return f"expected a dense tensor with data, found {tensor.layout} on {tensor.device}"
    held = tensor.untyped_storage().nbytes() // tensor.element_size()
    return f"declares shape {list(tensor.shape)}, but the file holds {held} numbers for it"
