"""Tensors of other code as they are stored: float32, contiguous, sharing no memory with the file."""

import logging
import math
from collections.abc import Iterable

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.checkpoint import check_values
from hnexport.networks.wide_resnet.checkpoints.listing import kind_of
from hnexport.networks.wide_resnet.checkpoints.places import is_dense

__all__ = ["check_dtype", "float32", "note_conversion"]

_ACCEPTED_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_log = logging.getLogger(__name__)


def check_dtype(where: str, tensor: object) -> None:
    """Check that something is a dense tensor with numbers of a floating-point dtype that a float32 can stand for.

    Raises:
        CheckpointError: it does not; the message starts with `where`.
    """
    if not isinstance(tensor, Tensor) or not is_dense(tensor):
        raise CheckpointError(f"{where}: expected a dense tensor with data, found {kind_of(tensor)}")
    if tensor.dtype not in _ACCEPTED_DTYPES:
        accepted = ", ".join(str(dtype) for dtype in _ACCEPTED_DTYPES)
        raise CheckpointError(f"{where}: expected dtype {accepted}, found {tensor.dtype}")


def float32(where: str, tensor: Tensor, *, lowest: float = -math.inf) -> Tensor:
    """A contiguous float32 copy that shares no memory with the file.

    Raises:
        CheckpointError: it holds numbers that are not finite, or below `lowest`.
    """
    copy = tensor.detach().to(dtype=torch.float32, memory_format=torch.contiguous_format, copy=True)
    check_values(where, copy, lowest=lowest)
    return copy


def note_conversion(origin: str, tensors: Iterable[Tensor]) -> None:
    """Say it where numbers lose digits."""
    others = sorted({str(tensor.dtype) for tensor in tensors if tensor.dtype is not torch.float32})
    if others:
        _log.warning("%s: tensors of dtype %s were converted to float32", origin, ", ".join(others))
