"""`.npz` files with the inputs of a network by name."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from hnexport.errors import HnexportError, RuntimeInputError
from hnexport.images.arrays import ARCHIVE, array_from, array_rows, array_shape
from hnexport.images.files import open_file
from hnexport.reading import shown
from hnexport.spec import TensorSpec
from hnexport.text import shorten

__all__ = ["archive_rows", "archive_shapes", "array_names", "is_archive", "read_archive"]

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
    tensors: Sequence[TensorSpec],
    ignored: Sequence[str] = (),
    words: Sequence[str] = (),
) -> dict[str, NDArray[Any]]:
    """Every one of these inputs of a network, from the array of that name.

    Args:
        ignored: names of arrays that it may hold too.
        words: names of those that may hold text.

    Raises:
        RuntimeInputError: the archive cannot be read, has an array too few or too many, or one that the graph does not
            take.
    """
    with _opened(path, tensors, ignored) as held:
        return {
            array.tensor.name: array_from(
                array.file, array.size_bytes, array.tensor, array.subject, words=array.tensor.name in words
            )
            for array in held
        }


def archive_shapes(
    path: Path, tensors: Sequence[TensorSpec], ignored: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """The shapes of these arrays, by their headers; otherwise as `read_archive`."""
    with _opened(path, tensors, ignored) as held:
        return {array.tensor.name: array_shape(array.file, array.tensor, array.subject) for array in held}


def archive_rows(
    path: Path, tensors: Sequence[TensorSpec], rows: int, ignored: Sequence[str] = ()
) -> Iterator[dict[str, NDArray[Any]]]:
    """The same arrays, at most so many samples of each at a time; one without a batch axis is in every part."""
    with _opened(path, tensors, ignored) as held:
        whole, parts = {}, {}
        for array in held:
            given = array.file, array.size_bytes, array.tensor, array.subject
            if array.tensor.has_batch:
                parts[array.tensor.name] = array_rows(*given, rows)
            else:
                whole[array.tensor.name] = array_from(*given)
        if not parts:
            yield whole
        for some in zip(*parts.values(), strict=True):
            yield {**whole, **dict(zip(parts, some, strict=True))}


@dataclass(frozen=True, kw_only=True)
class _Held:
    """An array of an open archive."""

    tensor: TensorSpec
    file: IO[bytes]
    size_bytes: int
    subject: str


@contextmanager
def _opened(path: Path, wanted: Sequence[TensorSpec], ignored: Sequence[str]) -> Iterator[list[_Held]]:
    """The arrays of these names, each open at its beginning; whatever is wrong with the archive is said."""
    with open_file(path, "a .npz file") as file:
        try:
            with zipfile.ZipFile(file) as archive, ExitStack() as stack:
                held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()[:_MOST_ARRAYS]}
                _check_names(path, [name for name in held if name not in ignored], [tensor.name for tensor in wanted])
                found = []
                for tensor in wanted:
                    info = held[tensor.name]
                    if info.compress_type != zipfile.ZIP_STORED and info.file_size > _MOST_BYTES:
                        raise RuntimeInputError(
                            f"{path}: {tensor.name} has {info.file_size:,} bytes, of compressed arrays at most "
                            f"{_MOST_BYTES:,} are read: write it with np.savez"
                        )
                    member = stack.enter_context(archive.open(info))
                    subject = f"{path}[{tensor.name}]"
                    found.append(_Held(tensor=tensor, file=member, size_bytes=info.file_size, subject=subject))
                yield found
        except HnexportError:
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
