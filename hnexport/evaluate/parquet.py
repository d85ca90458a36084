"""Parquet: inputs and what is right of them as columns, or pictures as data sets of hubs have them."""

import functools
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.batches import Batch, picture_batch, samples_at_once
from hnexport.evaluate.targets import TARGETS, ReadOptions, named_targets, renumbered, target_spec
from hnexport.images import image_input
from hnexport.images.files import open_file
from hnexport.installed import require_extra
from hnexport.runtime.inputs import check_dtype, check_input
from hnexport.spec import OutputSpec, TensorSpec
from hnexport.spec.images import ImageInput
from hnexport.text import shorten

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

__all__ = ["ParquetData", "read_parquet"]

_AT_ONCE = 256  # pictures that are written for their decoder
_BUFFER_BYTES = 2**20


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
    with _opened(path) as file:
        schema, samples = file.schema_arrow, file.metadata.num_rows
        if not samples:
            raise RuntimeInputError(f"{path} holds no samples")
        image, encoded = image_input(manifest), _encoded(schema)
        if image is not None and encoded and image.tensor.name not in set(schema.names) - set(encoded):
            chosen = _chosen(path, encoded, image)
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


@contextmanager
def _opened(path: Path) -> Iterator["ParquetFile"]:
    """The file, read as it goes; whatever is wrong with it is said."""
    import pyarrow as pa
    from pyarrow import parquet

    with open_file(path, "Parquet") as file:
        try:
            yield parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise RuntimeInputError(f"{path} cannot be read as Parquet: {shorten(error)}") from error


def _inputs(path: Path, manifest: Manifest) -> Iterator[Batch]:
    """Columns of numbers, some rows at a time."""
    import pyarrow as pa

    inputs = manifest.signature.inputs
    with _opened(path) as file:
        held = file.schema_arrow.names
        missing = next((tensor.name for tensor in inputs if tensor.name not in held), None)
        if missing is not None:
            raise RuntimeInputError(f"{path} has no column {missing!r}: found {', '.join(held[:12])}")
        columns = [tensor.name for tensor in inputs]
        for batch in file.iter_batches(samples_at_once(manifest.signature), columns=columns):
            table = pa.Table.from_batches([batch])
            arrays = {tensor.name: check_input(_numbers(path, table, tensor), tensor) for tensor in inputs}
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
    array = _numbers(path, table, spec)
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


def _numbers(path: Path, table: "pyarrow.Table", tensor: TensorSpec) -> NDArray[Any]:
    """A column as `[sample, …]`: flat lists have as many elements as the row has, nested ones its axes."""
    import pyarrow as pa

    values = table.column(tensor.name).combine_chunks()
    subject, nested = f"{path}: {tensor.name}", list[int]()
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        lengths = set(pa.compute.list_value_length(values).to_pylist())
        if values.null_count or len(lengths) > 1:
            raise RuntimeInputError(
                f"{subject} has lists of different lengths, or none: {sorted(lengths, key=str)[:8]}"
            )
        nested += lengths
        values = values.flatten()
    if values.null_count:
        raise RuntimeInputError(f"{subject} lacks {values.null_count} values")
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise RuntimeInputError(f"{subject}: expected numbers, found {values.type}")
    array = values.to_numpy(zero_copy_only=False)
    open_axes = [size for size in tensor.row if isinstance(size, str)]
    row = tuple(-1 if isinstance(size, str) else size for size in tensor.row)
    if len(nested) > 1 and not _is_row(nested, row):
        raise RuntimeInputError(
            f"{subject}: a sample's lists are {nested}, expected {list(row)}: put the axes into this order"
        )
    if len(open_axes) > 1:
        raise RuntimeInputError(
            f"{subject} has {len(open_axes)} axes of any size, of which columns say nothing: give .npz"
        )
    try:
        return np.asarray(array.reshape(table.num_rows, *row))
    except ValueError as error:
        raise RuntimeInputError(
            f"{subject}: expected {list(row)} numbers a sample, found {len(array) / max(table.num_rows, 1):g}"
        ) from error


def _is_row(nested: Sequence[int], row: Sequence[int]) -> bool:
    """Whether nested lists have the axes of a row; those of one element may be left out."""
    have, want = list(nested), list(row)
    if len(have) != len(want):
        have, want = ([size for size in sizes if size != 1] for sizes in (nested, row))
    return len(have) == len(want) and all(size in (-1, held) for held, size in zip(have, want, strict=True))


def _encoded(schema: "pyarrow.Schema") -> list[str]:
    """Columns of encoded pictures."""
    import pyarrow as pa

    def is_bytes(kind: "pyarrow.DataType") -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = []
    for field in schema:
        record = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if is_bytes(field.type) or (record and is_bytes(field.type.field("bytes").type)):
            found.append(field.name)
    return found


def _chosen(path: Path, columns: list[str], image: ImageInput) -> str:
    """The column of pictures that is meant."""
    if len(columns) > 1 and image.tensor.name not in columns:
        raise RuntimeInputError(
            f"{path} has several columns of pictures, {', '.join(columns)}: call the one that is meant "
            f"{image.tensor.name!r}"
        )
    return image.tensor.name if image.tensor.name in columns else columns[0]


def _pictures(path: Path, column: str, image: ImageInput, options: ReadOptions) -> Iterator[Batch]:
    """Pictures, decoded as files are: some at a time lie in a folder that is removed again."""
    with _opened(path) as file:
        contents = _contents(path, file, column)
        while chunk := list(itertools.islice(contents, _AT_ONCE)):
            with tempfile.TemporaryDirectory() as folder:
                files = list(_written(Path(folder), chunk))
                try:
                    batch = picture_batch(files, image, options.pictures)
                except RuntimeInputError as error:
                    raise RuntimeInputError(str(error).replace(f"{folder}/", f"{path}: {column} ")) from error
            yield batch


def _contents(path: Path, file: "ParquetFile", column: str) -> Iterator[tuple[int, bytes]]:
    batches = file.iter_batches(_AT_ONCE, columns=[column])
    for number, value in enumerate(value for batch in batches for value in batch.column(0)):
        found = value.as_py()
        content = found["bytes"] if isinstance(found, dict) else found
        if content is None:
            raise RuntimeInputError(f"{path}: row {number} of {column} holds no picture")
        yield number, content


def _written(folder: Path, chunk: Iterable[tuple[int, bytes]]) -> Iterator[Path]:
    for number, content in chunk:
        file = folder / f"[{number}]"
        file.write_bytes(content)
        yield file
