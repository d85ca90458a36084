"""From a path to a source, by what is there."""

from pathlib import Path

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.score.array import ArrayFile
from hnexport.score.folder import Folder
from hnexport.score.options import ScoreOptions
from hnexport.score.samples import Source
from hnexport.score.table import Table
from hnexport.spelling import spelled

__all__ = ["check_readable", "open_source"]

_TABLES = {".parquet": "parquet", ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".ipc": "arrow"}
_PROBED = 16


def open_source(path: Path, manifest: Manifest, options: ScoreOptions) -> Source:
    """A folder, Parquet, Arrow or `.npy`.

    Raises:
        RuntimeInputError: it is none of them, cannot be read, or is not what the network takes.
    """
    for item in manifest.signature.inputs:
        if not item.has_batch:
            raise RuntimeInputError(f"{item.name} is given once for all samples, and not by row: use predict in Python")
    kind = _TABLES.get(path.suffix.lower())
    if options.identifier is not None and (kind is None or path.is_dir()):
        raise RuntimeInputError(
            f"{path} has no columns, its rows are called as they are: leave {spelled('identifier', '--id')} out"
        )
    if path.is_dir():
        return Folder(path, manifest, options.pictures)
    if kind is not None:
        return Table(path, kind, manifest, options.pictures, options.identifier)
    if path.suffix.lower() == ".npy":
        return ArrayFile(path, manifest)
    if not path.exists():
        raise RuntimeInputError(f"{path} does not exist: expected a folder, .parquet, .arrow or .npy")
    raise RuntimeInputError(f"{path} is no data set: expected a folder, .parquet, .arrow or .npy")


def check_readable(source: Source, path: Path) -> None:
    """Refuse what is wrong with every row, before hours are spent on it: some rows are read, spread over all.

    Raises:
        RuntimeInputError: none of them can be.
    """
    count = min(_PROBED, source.rows)
    errors = []
    for number in range(count):
        row = number * source.rows // count
        (found,) = source.read(row, row + 1)
        if found.inputs is not None:
            return
        errors.append(found.error)
    tried = f"none of {count} rows, spread over {source.rows:,}," if count > 1 else "its only row"
    verb = "can be read" if count > 1 else "cannot be read"
    raise RuntimeInputError(f"{path}: {tried} {verb}, and nothing was scored; the first: {errors[0]}")
