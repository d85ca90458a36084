"""PyTorch's fused kernels of attention in evaluation mode, switched off.

They have no place in files, run in no other precision, take tensors nested by a padding mask, and fill what is masked
with zeros, which the layers written out do not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["plain_attention"]


@contextmanager
def plain_attention() -> Iterator[None]:
    """In the body attention is computed operator by operator, as it is exported."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
