"""How the bases of a hypernetwork are stored: as floating-point numbers, or as integers with a scale for each group.

A basis is `[row, chunk]`. A quantised one is two tensors: integers `[row, chunk]`, and scales `[row, group]`, float16,
where groups cut each row into pieces of one size; an element is its integer times the scale of its group. Integers of 4
bits lie two to a byte, each 8 higher than it is: the first half of the rows in the lower bits, the second half in the
upper ones. Standard library only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from hnexport.errors import SpecError
from hnexport.spec.checks import require
from hnexport.spec.hypernet import BasisDtype
from hnexport.spec.tensors import StoredKind, StoredTensor

__all__ = ["bases_of", "basis_dtype", "scales_name", "scales_of", "stored_basis", "unquantised", "without_bases"]

_INTEGERS: Mapping[BasisDtype, str] = MappingProxyType({BasisDtype.INT8: "int8", BasisDtype.INT4: "uint8"})
_LARGEST_GROUP: Mapping[BasisDtype, int] = MappingProxyType({BasisDtype.INT8: 288, BasisDtype.INT4: 40})
"""Elements that share a scale: fewer cost more bytes, more cost precision: docs/howto/fewer-bits.md."""


def scales_name(basis: str) -> str:
    """The name of the scales of a basis that is quantised."""
    return f"{basis}_scales"


def stored_basis(basis: StoredTensor, dtype: BasisDtype, unit: int) -> tuple[StoredTensor, ...]:
    """What is stored of a basis: itself in a floating-point dtype, or its integers and their scales.

    Args:
        basis: `[row, chunk]`.
        unit: divides the chunk; no group crosses a multiple of it.
    """
    if dtype not in _INTEGERS:
        return (replace(basis, dtype=dtype.value),)
    rows, chunk = basis.shape
    size = _group_size(unit, _LARGEST_GROUP[dtype])
    held = -(-rows // 2) if dtype is BasisDtype.INT4 else rows
    return (
        replace(basis, dtype=_INTEGERS[dtype], shape=(held, chunk)),
        replace(
            basis,
            name=scales_name(basis.name),
            dtype="float16",
            shape=(rows, chunk // size),
            kind=StoredKind.BASIS_SCALES,
        ),
    )


def _group_size(unit: int, largest: int) -> int:
    """The largest divisor up to `largest`, or, where it is less than a quarter of that (of a prime, 1), all."""
    largest = min(unit, largest)
    found = next(size for size in range(largest, 0, -1) if unit % size == 0)
    return found if found * 4 >= largest else unit


def bases_of(stored: Iterable[StoredTensor]) -> tuple[StoredTensor, ...]:
    """The bases, or their integers."""
    return tuple(item for item in stored if item.kind is StoredKind.BASIS)


def basis_dtype(stored: Iterable[StoredTensor]) -> BasisDtype | None:
    """How bases are stored; None where there are none."""
    found = next((item.dtype for item in bases_of(stored)), None)
    integers = {text: dtype for dtype, text in _INTEGERS.items()}
    return None if found is None else integers.get(found) or BasisDtype(found)


def scales_of(stored: Iterable[StoredTensor]) -> dict[str, StoredTensor]:
    """The scales of each quantised basis, by the basis's name.

    Raises:
        SpecError: integers have no scales, or such that do not fit; or scales belong to no basis.
    """
    stored = tuple(stored)
    scales = {item.name: item for item in stored if item.kind is StoredKind.BASIS_SCALES}
    found = {}
    for basis in bases_of(stored):
        if basis.dtype in _INTEGERS.values():
            one = scales.pop(scales_name(basis.name), None)
            require(one is not None and _fits(basis, one), f"{basis.name}: integers without scales that fit them")
            if one is not None:
                found[basis.name] = one
    require(not scales, f"{next(iter(scales), '')}: scales of no basis")
    return found


def _fits(integers: StoredTensor, scales: StoredTensor) -> bool:
    if scales.dtype != "float16" or len(scales.shape) != 2 or len(integers.shape) != 2:
        return False
    (rows, groups), (held, chunk) = scales.shape, integers.shape
    if integers.hypernet != scales.hypernet or not groups or chunk % groups:
        return False
    return held == (-(-rows // 2) if integers.dtype == "uint8" else rows)


def unquantised(stored: Iterable[StoredTensor]) -> tuple[StoredTensor, ...]:
    """The same table with each quantised basis as the float32 one that it stands for.

    Raises:
        SpecError: integers and scales do not fit each other.
    """
    stored = tuple(stored)
    scales = scales_of(stored)
    found = []
    for item in stored:
        if item.name in scales:
            shape = (scales[item.name].shape[0], item.shape[1])
            found.append(replace(item, dtype="float32", shape=shape))
        elif item.kind is not StoredKind.BASIS_SCALES:
            found.append(item)
    return tuple(found)


def without_bases(name: str, dtype: BasisDtype, *, generates: bool = False) -> SpecError:
    """Why an ensemble cannot have its bases in fewer bits, and what can be in fewer bits instead.

    Args:
        generates: it has a hypernetwork, which is stored as it is.
    """
    what = "has a hypernetwork of its own, stored as it is" if generates else "generates nothing"
    return SpecError(
        f"{name} {what}: it has no bases to store in {dtype.value}; members that are plain networks can compute in "
        "int8, `hnexport tune BUNDLE --precision int8 --calibration IMAGES`"
    )
