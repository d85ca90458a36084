"""A lock on an open file that the system releases when its owner dies, whoever and wherever that was."""

import os
import sys

__all__ = ["try_lock"]


def try_lock(handle: int) -> bool:
    """Take the lock without waiting; False where another holds it, or where there are none.

    The place at which the file is read stays.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            before = os.lseek(handle, 0, os.SEEK_CUR)
            os.lseek(handle, 2**30, os.SEEK_SET)  # beyond the text, which others may read
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(handle, before, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, ImportError):  # a system without such locks, WebAssembly say
        return False
    return True
