"""Reading the state dicts of a hypnettorch ensemble from files, without ever running code from them.

`.safetensors` files are read with safetensors, everything else with `torch.load(weights_only=True)`, which builds
tensors and plain containers and refuses every other object.
"""

import logging
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.files import existing_file, sha256

__all__ = ["StateDicts", "read_state_dicts"]

_log = logging.getLogger(__name__)

_HOW_TO_SAVE = "save the state dicts alone: torch.save({'hnet': hnet.state_dict(), 'mnet': mnet.state_dict()}, path)"
_WRAPPER_PREFIXES = r"^((module|_orig_mod)\.)+"  # of DataParallel and torch.compile


@dataclass(frozen=True, kw_only=True)
class StateDicts:
    """What a hypnettorch checkpoint holds.

    Attributes:
        hnet: the hypernetwork's state dict.
        mnet: the main network's, which holds the batch-norm statistics; None where there is none.
        origin: one line, for instance `hypnettorch ensemble.pt (sha256 …)`.
    """

    hnet: Mapping[str, Tensor]
    mnet: Mapping[str, Tensor] | None
    origin: str


def read_state_dicts(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    hnet: str | os.PathLike[str] | None = None,
    mnet: str | os.PathLike[str] | None = None,
) -> StateDicts:
    """Read the two state dicts from one file, or from one file each.

    One file holds `{"hnet": state_dict, "mnet": state_dict}`, or, as safetensors, names that start with `hnet.` and
    `mnet.`; a file for one network holds its state dict. Each may be wrapped as hypnettorch's `save_checkpoint` does it
    (`{"state_dict": …, …}`); other entries beside them (optimizer, iteration, score) are left alone. A `checkpoint`
    that holds a single state dict is the hypernetwork's.

    Raises:
        CheckpointError: a file is missing, damaged, holds something other than tensors and plain containers, or holds
            no such state dict; or `checkpoint` was given together with `hnet` or `mnet`, or neither.
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
    if checkpoint is not None:
        path = existing_file(checkpoint)
        networks = _networks(path, _read(path))
        found = {name: _state_dict(path, name, networks.get(name)) for name in ("hnet", "mnet") if name in networks}
        return StateDicts(hnet=found["hnet"], mnet=found.get("mnet"), origin=f"hypnettorch {_identify(path)}")
    if hnet is None:
        raise either
    paths = {"hnet": existing_file(hnet)} | ({} if mnet is None else {"mnet": existing_file(mnet)})
    single = {name: _single(path, name, _read(path)) for name, path in paths.items()}
    origin = "hypnettorch " + " and ".join(_identify(path) for path in paths.values())
    return StateDicts(hnet=single["hnet"], mnet=single.get("mnet"), origin=origin)


def _identify(path: Path) -> str:
    return f"{path.name} (sha256 {sha256(path)})"


def _read(path: Path) -> Mapping[str, Any]:
    """The content of one file: a mapping whose leaves are tensors and plain values."""
    try:
        content = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except CheckpointError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a complete safetensors file ({error}); copy or write it again") from error
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object that only code can build ({found[1]})" if found else "more than tensors and plain containers"
        raise CheckpointError(
            f"{path}: holds {what}; hnexport never runs code from a checkpoint. In the training code, {_HOW_TO_SAVE}"
        ) from error
    except Exception as error:  # torch.load raises whatever the damaged bytes lead to
        reason = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
        raise CheckpointError(
            f"{path}: not a complete PyTorch checkpoint ({reason}); copy or write it again"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected a dict of state dicts, found {type(content).__name__}; {_HOW_TO_SAVE}")
    return content


def _torch_load(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    # torch.save never compresses, and a few compressed bytes can stand for any amount of memory
                    raise CheckpointError(
                        f"{path}: entry {entry.filename!r} is compressed; expected a file of torch.save"
                    )
            damaged = archive.testzip()  # torch.load does not look at the checksums that torch.save writes
        if damaged is not None:
            raise CheckpointError(
                f"{path}: not a complete PyTorch checkpoint (the checksum of {damaged!r} is wrong); "
                "copy or write it again"
            )
    return torch.load(path, map_location="cpu", weights_only=True)


def _networks(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content split by network: `hnet`, and `mnet` where it is there."""
    content = _unwrap(content)
    if isinstance(content.get("hnet"), Mapping):
        ignored = sorted(str(name) for name in content if name not in ("hnet", "mnet"))
        if ignored:
            _log.info("%s: entries beside the state dicts are not used: %s", path.name, ", ".join(ignored))
        return {name: content[name] for name in ("hnet", "mnet") if content.get(name) is not None}
    prefixes = {name: f"{name}." for name in ("hnet", "mnet")}
    if any(str(key).startswith(prefixes["hnet"]) for key in content):
        split: dict[str, Any] = {}
        for key, value in content.items():
            name, dot, rest = str(key).partition(".")
            if not dot or name not in prefixes:
                raise CheckpointError(f"{path}: tensor {key!r}: expected a name that starts with 'hnet.' or 'mnet.'")
            split.setdefault(name, {})[rest] = value
        return split
    if any(isinstance(value, Tensor) for value in content.values()):
        return {"hnet": content}
    entries = ", ".join(repr(str(key)) for key in list(content)[:5]) or "nothing"
    raise CheckpointError(f"{path}: expected the entries 'hnet' and 'mnet', found {entries}; {_HOW_TO_SAVE}")


def _single(path: Path, network: str, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """One network's state dict from a file of its own (or from one that also holds the other network's)."""
    content = _unwrap(content)
    if network in content:
        content = content[network]
    elif any(str(key).startswith(f"{network}.") for key in content):
        content = _networks(path, content)[network]
    return _state_dict(path, network, content)


def _unwrap(content: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = content.get("state_dict")
    return inner if isinstance(inner, Mapping) else content


def _state_dict(path: Path, network: str, content: Any) -> dict[str, Tensor]:
    """Check that `content` is a state dict of ordinary tensors; names lose the prefixes that wrapper modules add."""
    if not isinstance(content, Mapping) or (not content and network == "hnet"):
        raise CheckpointError(
            f"{path}: {network}: expected a state dict, found {type(content).__name__}; {_HOW_TO_SAVE}"
        )
    state = {}
    for name, tensor in _unwrap(content).items():
        where = f"{path}: {network} tensor {name!r}"
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{where}: expected a tensor, found {type(tensor).__name__}; {_HOW_TO_SAVE}")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise CheckpointError(
                f"{where}: expected a dense tensor with data, found {tensor.layout} on {tensor.device}"
            )
        held = tensor.untyped_storage().nbytes() // tensor.element_size()
        if tensor.numel() > held:
            raise CheckpointError(
                f"{where}: declares shape {list(tensor.shape)}, but the file holds {held} numbers for it"
            )
        state[re.sub(_WRAPPER_PREFIXES, "", name)] = tensor.detach()
    return state
