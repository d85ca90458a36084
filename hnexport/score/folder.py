"""A folder of pictures, or of `.npy` files with one sample each, with the folders in it."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.images import AppliedNormalisation, image_input
from hnexport.images.arrays import read_array
from hnexport.images.reader import PictureReader
from hnexport.score.samples import Row, as_text

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Folder"]


class Folder:
    """Every file that is not hidden, sorted by its path; a row is called as its path in the folder."""

    kind, identifier = "folder", ""

    def __init__(self, path: Path, manifest: Manifest, pictures: Mapping[str, Any]) -> None:
        """Find the files.

        Raises:
            RuntimeInputError: there are none, a folder cannot be read, or the network takes no files.
        """
        image, inputs = image_input(manifest), manifest.signature.inputs
        if image is None and len(inputs) != 1:
            raise RuntimeInputError(f"{path} is a folder, and this network takes {len(inputs)} inputs: give Parquet")
        self._path, self._tensor = path, inputs[0]
        self._reader = None if image is None else PictureReader.of(image, **pictures)
        self._names, self.fingerprint = _found(path)
        self.rows = len(self._names)
        if not self.rows:
            raise RuntimeInputError(f"{path} holds no files")
        picture = next((name for name in self._names if not name.lower().endswith(".npy")), None)
        self.normalised: AppliedNormalisation | None = None
        if self._reader is not None and picture is not None:  # where nobody says how, no row could be read
            self.normalised = self._reader.applied(str(path / picture))

    @property
    def id_type(self) -> "pyarrow.DataType":
        """Text."""
        import pyarrow as pa

        return pa.string()

    def check(self) -> None:
        """As `Source.check`."""

    def read(self, start: int, stop: int) -> Iterator[Row]:
        """As `Source.read`."""
        for name in self._names[start:stop]:
            called = as_text(name)
            try:
                yield Row(id=called, inputs={self._tensor.name: self._sample(self._path / name)})
            except RuntimeInputError as error:
                yield Row(id=called, error=str(error))

    def _sample(self, path: Path) -> NDArray[Any]:
        array = read_array(path, self._tensor) if self._reader is None else self._reader.file(path)[0]
        if len(array) != 1:
            raise RuntimeInputError(f"{path} holds {len(array)} samples: in a folder a file is one, give it alone")
        return array


def _found(folder: Path) -> tuple[list[str], str]:
    """The files, and what stands for them: paths, sizes and times."""

    def refuse(error: OSError) -> None:
        raise RuntimeInputError(f"{error.filename} cannot be read: {error.strerror}") from error

    names, digest = list[str](), hashlib.sha256()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [one for one in folders if not one.startswith(".")]
        _check_no_circle(place, folders)
        inner = os.path.relpath(place, folder)
        names += [
            name if inner == os.curdir else Path(inner, name).as_posix() for name in files if not name.startswith(".")
        ]
    for name in sorted(names):
        digest.update(os.fsencode(name) + f"\0{_state(folder / name)}\0".encode())
    return sorted(names), digest.hexdigest()


def _check_no_circle(place: str, folders: list[str]) -> None:
    """Refuse a link to a folder in which it lies: its files would be rows again and again.

    Raises:
        RuntimeInputError: there is one.
    """
    around = Path(os.path.realpath(place))
    for name in folders:
        link = Path(place, name)
        if link.is_symlink() and (target := Path(os.path.realpath(link))) in (around, *around.parents):
            raise RuntimeInputError(f"{link} is a link to {target}, in which it lies: remove it")


def _state(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "gone"
    return f"{found.st_size} {found.st_mtime_ns}"
