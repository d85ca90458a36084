"""Parquet: inputs and what is right of them as columns, or pictures as data sets of hubs have them."""

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.data import Data
from hnexport.evaluate.targets import TARGETS, ReadOptions, named_targets, renumbered, target_spec
from hnexport.images import AppliedNormalisation, ImageBatch, image_input, read_images
from hnexport.images.files import open_file
from hnexport.installed import require_extra
from hnexport.runtime.inputs import check_dtype, check_input
from hnexport.spec import OutputSpec, TensorSpec
from hnexport.spec.images import ImageInput
from hnexport.text import shorten

if TYPE_CHECKING:
    import pyarrow

__all__ = ["read_parquet"]

_AT_ONCE = 256  # pictures that are written for their decoder


def read_parquet(path: Path, manifest: Manifest, output: OutputSpec, options: ReadOptions, *, targets: bool) -> Data:
    """Inputs by name, targets where they are asked for, and the names of the classes, which the file may say.

    A column of numbers, or of lists of them, is an input by its name. The only input of a network that takes images may
    be a column of encoded pictures under any name: of bytes, or of records with `bytes`.

    Raises:
        RuntimeInputError: the file cannot be read, lacks a column, or has what the network does not take.
        IncompleteError: there is no pyarrow.
    """
    require_extra("Parquet", "pyarrow", "evaluate")
    import pyarrow as pa
    from pyarrow import parquet

    with open_file(path, "Parquet") as file:
        try:
            table = parquet.read_table(file)
        except pa.ArrowException as error:
            raise RuntimeInputError(f"{path} cannot be read as Parquet: {shorten(error)}") from error
    image, encoded = image_input(manifest), _encoded(table)
    if image is not None and encoded and image.tensor.name not in set(table.column_names) - set(encoded):
        pictures, normalised = _pictures(path, table, encoded, image, options)
        inputs = {image.tensor.name: pictures}
    else:
        normalised = None
        inputs = {
            tensor.name: check_input(_numbers(path, table, tensor), tensor) for tensor in manifest.signature.inputs
        }
    found = Data(inputs=inputs, targets=None, place=str(path), normalised=normalised)
    if not targets:
        return found
    column = _target(path, table, options.target)
    declared = _declared(table, column)
    names, order = options.class_names or declared, ""
    right = _right(path, table, column, output, names)
    if output.axis is not None and not _is_text(table.column(column).type):
        right, order = renumbered(right, declared, names, f"{path}: {column}")
    return replace(found, targets=right, class_names=names, class_order=order)


def _target(path: Path, table: "pyarrow.Table", asked: str | None) -> str:
    held: list[str] = [name for name in table.column_names if name == asked or (asked is None and name in TARGETS)]
    if len(held) != 1:
        raise RuntimeInputError(
            f"{path}: expected one column {asked or ' or '.join(TARGETS)} with what is right, found "
            f"{', '.join(held or table.column_names[:12])}"
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


def _declared(table: "pyarrow.Table", column: str) -> tuple[str, ...]:
    """The names of the classes, as data sets of hubs say them in the file."""
    try:
        said = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    whole = isinstance(said, list) and all(isinstance(name, str) for name in said)
    return tuple(said) if whole else ()


def _numbers(path: Path, table: "pyarrow.Table", tensor: TensorSpec) -> NDArray[Any]:
    """A column as `[sample, …]`; lists have as many elements as the row has, whatever their nesting."""
    import pyarrow as pa

    if tensor.name not in table.column_names:
        raise RuntimeInputError(f"{path} has no column {tensor.name!r}: found {', '.join(table.column_names[:12])}")
    values = table.column(tensor.name).combine_chunks()
    subject = f"{path}: {tensor.name}"
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        lengths = set(pa.compute.list_value_length(values).to_pylist())
        if values.null_count or len(lengths) > 1:
            raise RuntimeInputError(
                f"{subject} has lists of different lengths, or none: {sorted(lengths, key=str)[:8]}"
            )
        values = values.flatten()
    if values.null_count:
        raise RuntimeInputError(f"{subject} lacks {values.null_count} values")
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise RuntimeInputError(f"{subject}: expected numbers, found {values.type}")
    array = values.to_numpy(zero_copy_only=False)
    open_axes = [size for size in tensor.row if isinstance(size, str)]
    row = tuple(-1 if isinstance(size, str) else size for size in tensor.row)
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


def _encoded(table: "pyarrow.Table") -> list[str]:
    """Columns of encoded pictures."""
    import pyarrow as pa

    def is_bytes(kind: "pyarrow.DataType") -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = []
    for field in table.schema:
        record = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if is_bytes(field.type) or (record and is_bytes(field.type.field("bytes").type)):
            found.append(field.name)
    return found


def _pictures(
    path: Path, table: "pyarrow.Table", columns: list[str], image: ImageInput, options: ReadOptions
) -> tuple[NDArray[Any], AppliedNormalisation | None]:
    """Pictures, decoded as files are: some at a time lie in a folder that is removed again."""
    if len(columns) > 1 and image.tensor.name not in columns:
        raise RuntimeInputError(
            f"{path} has several columns of pictures, {', '.join(columns)}: call the one that is meant "
            f"{image.tensor.name!r}"
        )
    column = image.tensor.name if image.tensor.name in columns else columns[0]
    contents = _contents(path, table, column)
    batches: list[ImageBatch] = []
    while chunk := list(itertools.islice(contents, _AT_ONCE)):
        with tempfile.TemporaryDirectory() as folder:
            files = list(_written(Path(folder), chunk))
            try:
                batches.append(read_images(files, image, **options.pictures))
            except RuntimeInputError as error:
                raise RuntimeInputError(str(error).replace(f"{folder}/", f"{path}: {column} ")) from error
    if not batches:
        raise RuntimeInputError(f"{path} holds no samples")
    return np.concatenate([batch.images for batch in batches]), batches[0].normalised[0]


def _contents(path: Path, table: "pyarrow.Table", column: str) -> Iterator[tuple[int, bytes]]:
    for number, value in enumerate(table.column(column)):
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
