"""What stands where a regular file is expected; a test that needs what this system has not is skipped."""

import os
from pathlib import Path

import pytest

__all__ = ["make_pipe", "make_zeros"]


def make_pipe(path: Path) -> None:
    """A named pipe, which nobody writes to."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)


def make_zeros(path: Path) -> None:
    """A link to a device that never ends."""
    if not os.path.exists("/dev/zero"):
        pytest.skip("this system has no /dev/zero")
    path.symlink_to("/dev/zero")
