"""Where in a file the late-phase network is, and the pickled modules that its training script saves instead of one.

The names of that code's layers are the landmark: a network is what stands behind one prefix. Wrappers, containers and
anything beside it do no harm; where several networks differ, the error names them, and a prefix says which.
"""

import logging
import mmap
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.names import documented
from hnexport.networks.wide_resnet.checkpoints.files import existing_file, sha256
from hnexport.networks.wide_resnet.checkpoints.late_phase.layers import ROOTS, is_name
from hnexport.networks.wide_resnet.checkpoints.listing import counted, kind_of, listing
from hnexport.networks.wide_resnet.checkpoints.places import (
    Entry,
    Place,
    distinct,
    entries,
    is_bookkeeping,
    is_dense,
)
from hnexport.networks.wide_resnet.checkpoints.torch_files import read_content
from hnexport.reading import open_regular
from hnexport.spelling import spelled

__all__ = ["LatePhaseState", "is_late_phase", "read_late_phase"]

_log = logging.getLogger(__name__)
_STATE = (b"no_coef_modules", b"bank.templates")
_OTHER = "specialist_modules"
"""Of the networks that its train_super_late_phase.py changes in place: those of torchvision."""
_OBJECTS = (b"HYPERWRN", b"HyperWRN", b"VirtualEnsemble")
_MOST = 2**26
"""Names stand before the numbers of all tensors: so many bytes of a file are searched for them."""
_KEYS = {b"swa_model": '["swa_model"]', b"ensembles": '["model"]'}
"""Where the module is in what the training script saves, by a word that shows it; the first is what it tests."""


@dataclass(frozen=True, kw_only=True)
class LatePhaseState:
    """One network's state dict.

    Attributes:
        temperature: what its `VirtualEnsemble`, where the state dict is of one, divides logits by.
        origin: one line, for instance `late-phase wrn.pt (sha256 …)`.
    """

    state: Mapping[str, Tensor]
    temperature: float
    origin: str


def is_late_phase(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds that code's names, of tensors or of classes.

    Raises:
        CheckpointError: it is missing, or cannot be read.
    """
    return _has(existing_file(path), (*_STATE, _OTHER.encode(), *_OBJECTS))


def read_late_phase(path: str | os.PathLike[str], prefix: str | None = None) -> LatePhaseState:
    """Read the state dict of a late-phase network out of a file, wherever in it that lies.

    Args:
        prefix: what stands in front of the names of the one that is meant, dotted.

    Raises:
        CheckpointError: the file is missing or damaged, holds that code's modules as objects, no such state dict, or
            several that differ.
    """
    path = existing_file(path)
    try:
        found = entries(path, read_content(path))
    except CheckpointError as error:
        raise _objects(path) or error from error
    networks = _networks(found)
    if not networks and any(_OTHER in entry.parts for entry in found):
        raise CheckpointError(
            f"{path}: holds {_OTHER}, as train_super_late_phase.py of the late-phase code saves networks for "
            "ImageNet; of that code only its Wide ResNets are read (input_layer.…, adapter.…, conv_block.…, head.…). "
            f"Make a module of each member, with the tensors of {_OTHER}.K in the place of the layer's own, and give "
            f"hnexport the list: {documented('howto/late-phase')} has the lines"
        )
    if not networks:
        raise _objects(path) or CheckpointError(
            f"{path}: expected a late-phase state dict (input_layer.…, adapter.0.…), found {listing(found, networks)}"
        )
    place = _chosen(path, networks, found, prefix)
    for name, tensor in place.state.items():
        if not isinstance(tensor, Tensor) or not is_dense(tensor):
            raise CheckpointError(
                f"{path}: tensor {name!r}: expected a dense tensor with data, found {kind_of(tensor)}"
            )
    chosen = f", from {place.path!r}" if len(networks) > 1 else ""
    return LatePhaseState(
        state=place.state,
        temperature=_temperature(path, place, found),
        origin=f"late-phase {path.name} (sha256 {sha256(path)}){chosen}",
    )


def _networks(found: Sequence[Entry]) -> list[Place]:
    states: dict[tuple[str, ...], dict[str, object]] = {}
    containers: dict[tuple[str, ...], tuple[str, ...]] = {}
    for entry in found:
        parts = entry.parts
        at = next((position for position, part in enumerate(parts) if part in ROOTS), None)
        if at is not None and not any(is_bookkeeping(part) for part in parts[:at]):
            prefix = tuple(parts[:at])
            states.setdefault(prefix, {})[".".join(parts[at:])] = entry.value
            containers.setdefault(prefix, entry.keys[:-1])
    return [
        Place(
            path=".".join(prefix),
            inner=".".join(prefix[len(".".join(containers[prefix]).split(".")) if containers[prefix] else 0 :]),
            container=containers[prefix],
            role=None,
            state=state,
        )
        for prefix, state in states.items()
        if any(is_name(name) for name in state)
    ]


def _chosen(path: Path, networks: Sequence[Place], found: Sequence[Entry], prefix: str | None) -> Place:
    if prefix is not None:
        wanted = prefix.strip().removesuffix(".")
        exact = [place for place in networks if place.path == wanted]
        networks = exact or [place for place in networks if not wanted or place.is_below(wanted)] or networks[:0]
    candidates = distinct(networks)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise CheckpointError(
            f"{path}: {_option(prefix or '')}: no late-phase network lies there; "
            f"the file holds {listing(found, _networks(found))}"
        )
    which = ", ".join(counted(place) for place in candidates)
    options = " or ".join(_option(place.path) for place in candidates[:4])
    raise CheckpointError(
        f"{path}: {len(candidates)} late-phase networks that differ: {which}; say which: {options} (swa_model is the "
        "one that the training script tests, where there is one)"
    )


def _option(prefix: str) -> str:
    return spelled(f"prefix={prefix!r}", f"--mnet-prefix {shlex.quote(prefix)}")


def _temperature(path: Path, place: Place, found: Sequence[Entry]) -> float:
    """`T` of the `VirtualEnsemble` around the network, or of the `DeepEnsemble`; 1 where there is none."""
    *outer, last = place.path.split(".")
    if last.isdecimal() and outer:
        *outer, last = outer
    beside = next((entry.value for entry in found if last == "models" and entry.parts == [*outer, "T"]), None)
    if not isinstance(beside, Tensor) or not is_dense(beside) or beside.numel() != 1:
        return 1.0
    temperature = float(beside)
    if not 0.0 < temperature < float("inf"):
        raise CheckpointError(f"{path}: tensor 'T': expected a positive number, found {temperature}")
    if temperature != 1.0:
        _log.warning("%s: the output layers are divided by its temperature T, %g", path.name, temperature)
    return temperature


def _objects(path: Path) -> CheckpointError | None:
    """The error for a file of pickled modules; None where it holds none of that code's."""
    if not _has(path, _OBJECTS):
        return None
    key = next((key for word, key in _KEYS.items() if _has(path, (word,))), "")
    return CheckpointError(
        f"{path}: holds modules of the late-phase code as objects, and hnexport never runs code from a checkpoint. "
        "Where torch, dill and that code are imported, and you trust the file, three lines make a state dict of it:\n"
        f"model = torch.load({path.name!r}, pickle_module=dill, map_location='cpu', weights_only=False){key}\n"
        "model.set_average_specialists(False)  # its own test had set it\n"
        "torch.save(model.state_dict(), 'late-phase.pt')"
    )


def _has(path: Path, words: Sequence[bytes]) -> bool:
    """Whether one of the words is among a file's first bytes."""
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(word, 0, _MOST) >= 0 for word in words)
