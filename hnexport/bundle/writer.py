"""Write a bundle beside its target and rename it last, so that the target is either whole or as it was before."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hnexport.errors import BundleError

__all__ = ["check_target", "staged_folder"]

_STAGING = ".hnexport-{pid}-"


def check_target(target: Path, *, force: bool, needed_bytes: int) -> None:
    """Refuse early what would fail late.

    Raises:
        BundleError: the target exists and `force` is not set, its parent cannot be written to, or the disk is too full.
    """
    if target.exists() and not force:
        raise BundleError(f"{target} exists: choose another --out, or give --force to replace it")
    if target.exists() and not (
        target.is_dir() and (not any(target.iterdir()) or (target / "manifest.json").is_file())
    ):
        raise BundleError(f"{target} exists and is not a bundle: --force replaces only bundles; choose another --out")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise BundleError(f"{target.parent} cannot be written to: {error.strerror}; choose another --out") from error
    if free_bytes < needed_bytes:
        raise BundleError(
            f"{target.parent} has {free_bytes / 1e6:.0f} MB free, the bundle needs about {needed_bytes / 1e6:.0f} MB: "
            "free some space or choose another --out"
        )


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` if the body succeeds, and vanishes if it does not.

    Raises:
        BundleError: the disk is full, or the folder cannot be written or renamed.
    """
    _remove_abandoned(target.parent)
    try:
        prefix = _STAGING.format(pid=os.getpid())
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=f"-{target.name}", dir=target.parent))
        folder.chmod(0o755)
    except OSError as error:
        raise BundleError(f"{target.parent} cannot be written to: {error.strerror}; choose another --out") from error
    try:
        yield folder
        _publish(folder, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise BundleError(
                f"{target.parent} is full: {error.strerror}; free some space, or choose another --out"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: Path, target: Path) -> None:
    for path in folder.rglob("*"):  # a rename must not become durable before the data it names
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if not target.exists():
        folder.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=_STAGING.format(pid=os.getpid()), dir=target.parent)) / target.name
    target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        old.rename(target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove staging folders of builds that were killed."""
    for path in parent.glob(".hnexport-*"):
        match = re.match(r"\.hnexport-(\d+)-", path.name)
        if match and path.is_dir() and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
