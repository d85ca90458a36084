"""The content of a checkpoint file, without ever running code from it.

`.safetensors` files are read with safetensors, everything else with `torch.load(weights_only=True)`, which builds
tensors and plain containers. What only code could build (a training script's arguments, a NumPy score) is left out:
an empty object stands in its place, whatever the file says about it.
"""

import logging
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from hnexport.errors import CheckpointError

__all__ = ["HOW_TO_SAVE", "LeftOut", "read_content"]

_log = logging.getLogger(__name__)

HOW_TO_SAVE = (
    "save the state dicts alone: torch.save({'hnet': hnet.state_dict(), 'mnet': mnet.state_dict()}, path); networks "
    "other than Wide ResNets are given themselves: hnexport build --from FILE.py:NAME"
)
_MOST_KINDS = 64  # of objects that are left out; more is no bookkeeping


class LeftOut:
    """What stands where a file holds an object that only code could build; it keeps nothing of it."""

    kind = "object"

    def __new__(cls, *_args: object, **_kwargs: object) -> "LeftOut":
        """Whatever arguments the file gives are dropped."""
        return object.__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        """Whatever state the file gives is dropped."""


def read_content(path: Path) -> Mapping[str, Any]:
    """The content of one file: a mapping whose leaves are tensors, plain values and `LeftOut`.

    Raises:
        CheckpointError: the file is damaged, holds no mapping, or asks for code that is never loaded.
    """
    try:
        content = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a complete safetensors file ({error}); copy or write it again") from error
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object that only code can build ({found[1]})" if found else "more than tensors and plain containers"
        raise CheckpointError(f"{path}: holds {what}; {_NEVER}") from error
    except Exception as error:  # torch.load raises whatever the damaged bytes lead to
        reason = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
        raise CheckpointError(
            f"{path}: not a complete PyTorch checkpoint ({reason}); copy or write it again"
        ) from error
    if isinstance(content, LeftOut):
        raise CheckpointError(f"{path}: holds an object that only code can build ({content.kind}); {_NEVER}")
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected a dict of state dicts, found {type(content).__name__}; {HOW_TO_SAVE}")
    return content


_NEVER = f"hnexport never runs code from a checkpoint. In the training code, {HOW_TO_SAVE}"


def _torch_load(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        return torch.load(path, map_location="cpu", weights_only=True)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                # torch.save never compresses, and a few compressed bytes can stand for any amount of memory
                raise CheckpointError(f"{path}: entry {entry.filename!r} is compressed; expected a file of torch.save")
        damaged = archive.testzip()  # torch.load does not look at the checksums that torch.save writes
    if damaged is not None:
        raise CheckpointError(
            f"{path}: not a complete PyTorch checkpoint (the checksum of {damaged!r} is wrong); copy or write it again"
        )
    return _without_objects(path)


def _without_objects(path: Path) -> Any:
    """The content, with a `LeftOut` for every object of a class that torch does not build itself."""
    kinds = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))[:_MOST_KINDS]
    stands_in: dict[str, Callable[..., Any]] = {kind: _left_out(kind) for kind in kinds}
    if "collections.defaultdict" in stands_in:
        stands_in["collections.defaultdict"] = _mapping("defaultdict")
    for _ in range(len(kinds) + 1):
        try:
            with torch.serialization.safe_globals([(stand_in, kind) for kind, stand_in in stands_in.items()]):
                content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            kind = _filled_as_a_mapping(str(error))
            if kind not in stands_in:
                raise
            stands_in[kind] = _mapping(kind)  # a dict of a class of its own: what it holds is read
            continue
        objects = [kind for kind in kinds if kind.split(".")[0] not in ("builtins", "collections", "numpy")]
        if objects:
            _log.info("%s: objects that only code can build are left out: %s", path.name, ", ".join(objects))
        return content
    raise pickle.UnpicklingError("a mapping of an unknown class")


def _left_out(kind: str) -> type[LeftOut]:
    return type("LeftOut", (LeftOut,), {"kind": kind, "__qualname__": kind})


def _mapping(kind: str) -> type:
    """A class whose objects are plain dicts: torch's unpickler fills no others."""

    def new(_cls: type, *_args: object, **_kwargs: object) -> OrderedDict[Any, Any]:
        return OrderedDict()

    return type("Mapping", (), {"__new__": new, "__qualname__": kind})


def _filled_as_a_mapping(message: str) -> str:
    found = re.search(r"Can only SETITEMS? for .* but got <class '(?:[\w.]*torch_files\.)?([\w.]+)'>", message)
    return found[1] if found else ""
