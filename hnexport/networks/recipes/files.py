"""Stored tensors from a file as training scripts write it: in wrappers, beside other entries."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hnexport.errors import CheckpointError

__all__ = ["read_tensors", "unwrapped"]

_SHOWN = 6


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """All tensors of a safetensors file, or of one of `torch.save`, by their dotted names; no code of it is run.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
            return dict(_flat("", torch.load(path, map_location="cpu", weights_only=True)))
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file of an ensemble's tensors ({str(error).splitlines()[0]}): write one with "
            "safetensors.torch.save_file(ensemble.tensors, path)"
        ) from error


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)


def unwrapped(source: str, tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> Mapping[str, Tensor]:
    """The tensors by the names that are wanted, without the wrapper that they all stand in.

    Raises:
        CheckpointError: there are several such wrappers, or none has them all.
    """
    first = wanted[0]
    if first in tensors:
        return tensors
    ends = [name.removesuffix(first) for name in tensors if name.endswith(f".{first}")]
    whole = [prefix for prefix in ends if all(prefix + name in tensors for name in wanted)]
    if len(whole) == 1:
        return {name: tensors[whole[0] + name] for name in wanted}
    holds = ", ".join(list(tensors)[:_SHOWN]) + ", …" * (len(tensors) > _SHOWN)
    if whole:
        raise CheckpointError(f"{source} holds such tensors more than once, in {', '.join(whole)}: give a file of one")
    missing = next((name for name in wanted if ends and ends[0] + name not in tensors), first)
    raise CheckpointError(f"{source}: the tensor {missing} is missing; it holds {holds or 'no tensors'}")
