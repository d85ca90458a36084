"""One file, and which of the networks in it is the hypernetwork and which the main network.

Names say it, or what the networks hold; where several could be meant, the error names them and what to say.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.files import sha256
from hnexport.networks.wide_resnet.checkpoints.listing import counted, kind_of, listing, option
from hnexport.networks.wide_resnet.checkpoints.places import (
    Entry,
    Place,
    distinct,
    entries,
    is_aside,
    is_bookkeeping,
    is_dense,
    places,
    role,
)
from hnexport.networks.wide_resnet.checkpoints.torch_files import HOW_TO_SAVE, LeftOut, read_content

__all__ = ["NetworkFile"]

_log = logging.getLogger(__name__)

_NETWORKS = {"hnet": "hypernetwork", "mnet": "main network"}


class _UnclearError(CheckpointError):
    """Several places could be a network; the message names them and what to say."""


@dataclass(frozen=True, kw_only=True)
class NetworkFile:
    """One file, and the networks in it."""

    path: Path
    content: Mapping[str, Any]
    entries: Sequence[Entry]
    places: Sequence[Place]

    @classmethod
    def read(cls, path: Path) -> "NetworkFile":
        """Read a file that is there.

        Raises:
            CheckpointError: it is damaged, or holds something other than a checkpoint does.
        """
        content = read_content(path)
        found = entries(path, content)
        return cls(path=path, content=content, entries=found, places=places(path, found))

    @property
    def listing(self) -> str:
        """What the file holds, for messages."""
        return f"{self.path.name} holds {listing(self.entries, self.places)}"

    def origin(self, prefixes: Mapping[str, str]) -> str:
        """One line that says where the networks came from."""
        chosen = "".join(f", {name} from {prefix!r}" for name, prefix in prefixes.items())
        return f"hypnettorch {self.path.name} (sha256 {sha256(self.path)}){chosen}"

    def networks(self, prefixes: Mapping[str, str]) -> dict[str, dict[str, Tensor]]:
        """The state dicts of both networks; the main network's where there is one.

        Args:
            prefixes: what the user says stands in front of a network's names.

        Raises:
            CheckpointError: there is no hypernetwork, several could be meant, or a state dict holds no tensors.
        """
        chosen: dict[str, Place | None] = {}
        unclear = []
        for name in sorted(("hnet", "mnet"), key=lambda name: (name not in prefixes, name)):
            taken = [place for place in chosen.values() if place is not None]
            pool = [place for place in self.places if place not in taken]
            single = name == "hnet" and len(pool) == 1 and pool[0].role is None
            try:
                chosen[name] = self._choose(name, pool, prefixes.get(name), alone=single)
            except _UnclearError as error:
                unclear.append(str(error))
        if unclear:
            raise CheckpointError(f"{self.path}: {'; '.join(unclear)}. In all, {self.listing}")
        self._tell(chosen, prefixes)
        contents = {name: self._unnoticed(name) if place is None else place.state for name, place in chosen.items()}
        if contents["hnet"] is None:
            raise self._nothing("hnet")
        return {name: self._state_dict(name, contents[name]) for name in _NETWORKS if contents[name] is not None}

    def network(self, name: str, prefix: str | None) -> dict[str, Tensor]:
        """The state dict of the network that the file was given for.

        Raises:
            CheckpointError: it holds none, several could be meant, or it holds no tensors.
        """
        try:
            place = self._choose(name, self.places, prefix, alone=True)
        except _UnclearError as error:
            raise CheckpointError(f"{self.path}: {error}. In all, {self.listing}") from None
        content = self._unnoticed(name) if place is None else place.state
        if content is None:
            raise self._nothing(name)
        return self._state_dict(name, content)

    def _choose(self, name: str, pool: Sequence[Place], prefix: str | None, *, alone: bool) -> Place | None:
        """The one place of a network; None where there is none.

        Args:
            alone: whether a place that does not look like it is taken too, since there is nothing else it could be.

        Raises:
            _UnclearError: several could be meant.
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
            raise _UnclearError(
                f"{len(candidates)} places could be the {_NETWORKS[name]} ({name}): {which}; say which: {options}"
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

    def _tell(self, chosen: Mapping[str, Place | None], prefixes: Mapping[str, str]) -> None:
        """Say which networks are left alone: a copy with other numbers may be what was meant."""
        used = [place for place in chosen.values() if place is not None]
        left = [place for place in self.places if place not in used and len(distinct([*used, place])) > len(used)]
        for place in left:
            name = place.role or ("mnet" if place.tracks_statistics or chosen["mnet"] is None else "hnet")
            if name in prefixes:
                continue  # the user chose
            _log.warning(
                "%s: %s is not used; if it is the %s to export, say %s",
                *(self.path.name, counted(place), _NETWORKS[name], option(name, place.path)),
            )
        known = {id(tensor) for place in self.places for tensor in place.state.values()}
        containers = {place.container for place in used}
        beside = [
            entry
            for entry in self.entries
            if entry.keys[:-1] in containers and isinstance(entry.value, Tensor) and id(entry.value) not in known
        ]
        beside = [entry for entry in beside if not is_aside(entry.keys[-1].split("."), entry.value)]
        if beside:
            _log.warning(
                "%s: tensors beside the networks are not used: %s", self.path.name, listing(beside, self.places)
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
