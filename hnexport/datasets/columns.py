"""Columns of Arrow tables: numbers as inputs, and which column holds encoded pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.spec import TensorSpec
from hnexport.spec.images import ImageInput

if TYPE_CHECKING:
    import pyarrow

__all__ = ["encoded_columns", "numbers", "picture_column"]


def numbers(place: object, table: "pyarrow.Table", tensor: TensorSpec) -> NDArray[Any]:
    """A column as `[sample, …]`: flat lists have as many elements as the row has, nested ones its axes."""
    import pyarrow as pa
    from pyarrow import compute

    values = table.column(tensor.name).combine_chunks()
    subject, nested = f"{place}: {tensor.name}", list[int]()
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        lengths = set(compute.list_value_length(values).to_pylist())
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


def encoded_columns(schema: "pyarrow.Schema") -> list[str]:
    """Columns of encoded pictures."""
    import pyarrow as pa

    def is_bytes(kind: "pyarrow.DataType") -> bool:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))

    found = []
    for field in schema:
        record = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if is_bytes(field.type) or (record and is_bytes(field.type.field("bytes").type)):
            found.append(field.name)
    return found


def picture_column(place: object, columns: list[str], image: ImageInput) -> str:
    """The column of pictures that is meant."""
    if len(columns) > 1 and image.tensor.name not in columns:
        raise RuntimeInputError(
            f"{place} has several columns of pictures, {', '.join(columns)}: call the one that is meant "
            f"{image.tensor.name!r}"
        )
    return image.tensor.name if image.tensor.name in columns else columns[0]
