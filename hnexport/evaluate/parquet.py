"""Parquet: inputs and what is right of them as columns, or pictures as data sets of hubs have them."""

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.datasets.columns import encoded_columns, numbers, picture_column
from hnexport.datasets.files import open_parquet
from hnexport.datasets.sizes import samples_at_once
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.batches import Batch
from hnexport.evaluate.targets import TARGETS, ReadOptions, named_targets, renumbered, target_spec
from hnexport.images import image_input
from hnexport.images.reader import PictureReader
from hnexport.installed import require_extra
from hnexport.runtime.inputs import check_dtype, check_input
from hnexport.spec import OutputSpec
from hnexport.spec.images import ImageInput

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

__all__ = ["ParquetData", "read_parquet"]

_AT_ONCE = 256  # pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class ParquetData:
    """What a file holds.

    Attributes:
        batches: begins to read the inputs by name.
        targets: where they are asked for.
        class_names: as they were given, or of the file.
        class_order: how they got their numbers, in words.
    """

    batches: Callable[[], Iterator[Batch]]
    targets: NDArray[Any] | None
    samples: int
    class_names: tuple[str, ...] = ()
    class_order: str = ""


def read_parquet(
    path: Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool
) -> ParquetData:
    """Inputs by name, targets where they are asked for, and the names of the classes where the file says them.

    A column of numbers, or of lists of them, is an input by its name. The only input of a network that takes images may
    be a column of encoded pictures under any name: of bytes, or of records with `bytes`.

    Raises:
        RuntimeInputError: the file cannot be read, lacks a column, or has what the network does not take.
        IncompleteError: there is no pyarrow.
    """
    require_extra("Parquet", "pyarrow", "evaluate")
    with open_parquet(path) as file:
        schema, samples = file.schema_arrow, file.metadata.num_rows
        if not samples:
            raise RuntimeInputError(f"{path} holds no samples")
        image, encoded = image_input(manifest), encoded_columns(schema)
        if image is not None and encoded and image.tensor.name not in set(schema.names) - set(encoded):
            chosen = picture_column(path, encoded, image)
            read = functools.partial(_pictures, path, chosen, image, options)
        else:
            read = functools.partial(_inputs, path, manifest)
        if not targets:
            return ParquetData(batches=read, targets=None, samples=samples)
        column = _target(path, schema.names, options.target)
        declared, table = _declared(schema, column), file.read(columns=[column])
        names, order = options.class_names or declared, ""
        right = _right(path, table, column, output, names)
        if output.axis is not None and not _is_text(table.column(column).type):
            right, order = renumbered(right, declared, names, f"{path}: {column}")
        return ParquetData(batches=read, targets=right, samples=samples, class_names=names, class_order=order)


def _inputs(path: Path, manifest: Manifest) -> Iterator[Batch]:
    """Columns of numbers, some rows at a time."""
    import pyarrow as pa

    inputs = manifest.signature.inputs
    with open_parquet(path) as file:
        held = file.schema_arrow.names
        missing = next((tensor.name for tensor in inputs if tensor.name not in held), None)
        if missing is not None:
            raise RuntimeInputError(f"{path} has no column {missing!r}: found {', '.join(held[:12])}")
        columns = [tensor.name for tensor in inputs]
        for batch in file.iter_batches(samples_at_once(manifest.signature), columns=columns):
            table = pa.Table.from_batches([batch])
            arrays = {tensor.name: check_input(numbers(path, table, tensor), tensor) for tensor in inputs}
            yield Batch(inputs=arrays)


def _target(path: Path, columns: Sequence[str], asked: str | None) -> str:
    held: list[str] = [name for name in columns if name == asked or (asked is None and name in TARGETS)]
    if len(held) != 1:
        raise RuntimeInputError(
            f"{path}: expected one column {asked or ' or '.join(TARGETS)} with what is right, found "
            f"{', '.join(held or columns[:12])}"
        )
    return held[0]


def _right(path: Path, table: "pyarrow.Table", column: str, output: OutputSpec, names: tuple[str, ...]) -> NDArray[Any]:
    """Targets: numbers, or names of classes."""
    spec, found = target_spec(column, output), table.column(column)
    if _is_text(found.type):
        if found.null_count:
            raise RuntimeInputError(f"{path}: {column} lacks {found.null_count} values")
        said = np.array(found.to_pylist() or [""], dtype=np.str_)[: table.num_rows]
        return named_targets(said, names if output.axis is not None else (), f"{path}: {column}")
    array = numbers(path, table, spec)
    check_dtype(array.dtype, spec, f"{path}: {column}")
    return array.astype(spec.dtype)


def _is_text(kind: "pyarrow.DataType") -> bool:
    import pyarrow as pa

    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(held) or pa.types.is_large_string(held))


def _declared(schema: "pyarrow.Schema", column: str) -> tuple[str, ...]:
    """The names of the classes, as data sets of hubs say them in the file."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    whole = isinstance(said, list) and all(isinstance(name, str) for name in said)
    return tuple(said) if whole else ()


def _pictures(path: Path, column: str, image: ImageInput, options: ReadOptions) -> Iterator[Batch]:
    """Pictures, decoded as files are."""
    reader = PictureReader.of(image, **options.pictures)
    with open_parquet(path) as file:
        contents = _contents(path, file, column)
        while chunk := list(itertools.islice(contents, _AT_ONCE)):
            read = [reader.content(content, f"{path}: {column} [{number}]") for number, content in chunk]
            images = np.concatenate([array for array, _ in read])
            yield Batch(inputs={image.tensor.name: images}, normalised=read[0][1])


def _contents(path: Path, file: "ParquetFile", column: str) -> Iterator[tuple[int, bytes]]:
    batches = file.iter_batches(_AT_ONCE, columns=[column])
    for number, value in enumerate(value for batch in batches for value in batch.column(0)):
        found = value.as_py()
        content = found["bytes"] if isinstance(found, dict) else found
        if content is None:
            raise RuntimeInputError(f"{path}: row {number} of {column} holds no picture")
        yield number, content
