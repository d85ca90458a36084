"""`.npz` files with the inputs of a network by name."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.arrays import ARCHIVE, array_from
from hnexport.images.files import open_file
from hnexport.reading import shown
from hnexport.spec import Signature, TensorSpec
from hnexport.text import shorten

__all__ = ["array_names", "is_archive", "read_archive"]

_MOST_BYTES = 2**30  # of one array that is compressed: a small file can claim to be endless
_MOST_ARRAYS = 10_000


def is_archive(path: Path) -> bool:
    """Whether a file is a `.npz`, by its first bytes.

    Raises:
        RuntimeInputError: it cannot be opened.
    """
    with open_file(path, "an input") as file:
        return file.read(len(ARCHIVE)) == ARCHIVE


def array_names(path: Path) -> tuple[str, ...]:
    """What the arrays of an archive are called.

    Raises:
        RuntimeInputError: it cannot be read.
    """
    with open_file(path, "a .npz file") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return tuple(name.removesuffix(".npy") for name in archive.namelist()[:_MOST_ARRAYS])
        except Exception as error:  # as below
            raise _unreadable(path, error) from error


def read_archive(
    path: Path,
    signature: Signature,
    besides: Sequence[TensorSpec] = (),
    ignored: Sequence[str] = (),
    words: Sequence[str] = (),
) -> dict[str, NDArray[Any]]:
    """Every input of a network, from the array of that name.

    Args:
        besides: further arrays that it has to hold.
        ignored: names of those that it may hold too.
        words: names of those that may hold text.

    Raises:
        RuntimeInputError: the archive cannot be read, has an array too few or too many, or one that the graph does not
            take.
    """
    wanted = (*signature.inputs, *besides)
    names = [tensor.name for tensor in wanted]
    with open_file(path, "a .npz file") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()[:_MOST_ARRAYS]}
                _check_names(path, [name for name in held if name not in ignored], names)
                found = {}
                for tensor in wanted:
                    info = held[tensor.name]
                    if info.compress_type != zipfile.ZIP_STORED and info.file_size > _MOST_BYTES:
                        raise RuntimeInputError(
                            f"{path}: {tensor.name} has {info.file_size:,} bytes, of compressed arrays at most "
                            f"{_MOST_BYTES:,} are read: write it with np.savez"
                        )
                    with archive.open(info) as member:
                        found[tensor.name] = array_from(
                            member, info.file_size, tensor, f"{path}[{tensor.name}]", words=tensor.name in words
                        )
                return found
        except RuntimeInputError:
            raise
        except Exception as error:  # zipfile and zlib raise almost anything on damaged bytes
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RuntimeInputError:
    return RuntimeInputError(f"{path} cannot be read as a .npz file: {shorten(error)}")


def _check_names(path: Path, found: list[str], names: list[str]) -> None:
    missing = next((name for name in names if name not in found), None)
    unknown = next((name for name in found if name not in names), None)
    if missing is not None or unknown is not None:
        what = f"has no array {missing!r}" if missing is not None else f"has an array {shown(unknown)} too many"
        raise RuntimeInputError(f"{path} {what}: this network takes {', '.join(names)}")
