"""PyTorch's precision switches, set for a while: strict float32 unless TF32 is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hnexport.parity.tolerances import Precision

__all__ = ["computing_in"]


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Allow TF32 in PyTorch's CUDA matrix products and convolutions, or forbid it; afterwards all is as before."""
    allowed = precision is Precision.TF32
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed, allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
