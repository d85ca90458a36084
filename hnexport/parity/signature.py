"""What every program must fit, whatever runs it: its inputs and outputs against those of a bundle's signature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ParityError
from hnexport.names import COND_IDS
from hnexport.parity.limits import LARGEST_BATCH, Limits
from hnexport.parity.tolerances import Precision
from hnexport.records import SPARSE
from hnexport.spec import BATCH, MEMBER, OutputKind, OutputSpec, Signature, TensorSpec
from hnexport.spec.summaries import Summary, summaries
from hnexport.spelling import spelled

__all__ = [
    "NARROW",
    "Declared",
    "GraphSignature",
    "SignatureError",
    "axes",
    "axis_sizes",
    "cast_input",
    "check_input",
    "check_output",
    "check_precision",
    "fits_input",
    "fits_output",
    "logits_output",
    "narrow_of",
    "signature_of",
]

Array = NDArray[np.generic]

NARROW = ("float16", "bfloat16")
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


class SignatureError(ParityError):
    """A file cannot be called with the bundle's inputs, or does not return its outputs."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An input or output as a file declares it.

    Attributes:
        dtype: numpy's name of it; None where the file does not say.
        shape: sizes, names of open axes, None for an open axis without a name; None as a whole where it does not say.
    """

    name: str
    dtype: str | None = None
    shape: tuple[int | str | None, ...] | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.dtype or '?'} [{'…' if self.shape is None else axes(self.shape)}])"


@dataclass(frozen=True, kw_only=True)
class GraphSignature:
    """What a bundle's graph takes, the condition id first, and what it gives; as data that another process is sent.

    Attributes:
        sizes: of the open axes besides the batch those of the golden samples, where they are known.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    conditions: tuple[str, ...] = field(default=(), metadata=SPARSE)

    @property
    def network(self) -> Signature:
        """Without the condition id."""
        return Signature(inputs=self.inputs[1:], outputs=self.outputs, conditions=self.conditions)

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """The outputs for several members."""
        return summaries(self.network)

    @property
    def cond_ids(self) -> TensorSpec:
        """The condition ids of several members."""
        return TensorSpec(name=COND_IDS, dtype=self.inputs[0].dtype, shape=(MEMBER,))

    @property
    def takes_images(self) -> bool:
        """Whether its only input is an image: messages then speak of images."""
        return [item.name for item in self.inputs[1:]] == ["image"]


def signature_of(manifest: Manifest, sizes: Mapping[str, int] | None = None) -> GraphSignature:
    """The signature of a bundle's graph."""
    return GraphSignature(
        inputs=manifest.inputs, outputs=manifest.outputs, sizes=dict(sizes or {}), conditions=manifest.conditions
    )


def axis_sizes(signature: Signature, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The sizes of the open axes but the batch, by name.

    Args:
        shapes: of one value of each input, by name.
    """
    return {
        axis: shapes[item.name][number]
        for item in signature.inputs
        for number, axis in enumerate(item.shape)
        if isinstance(axis, str) and axis != BATCH and item.name in shapes
    }


def fits_input(found: Declared, expected: TensorSpec, sizes: Mapping[str, int]) -> bool:
    """Whether a declared input can be given the bundle's."""
    return _castable(found.dtype, expected.dtype) and _fits(found.shape, expected, sizes)


def check_input(path: Path | str, found: Declared, expected: TensorSpec, signature: GraphSignature) -> None:
    """Check an input that a program declares against the bundle's; names and None are axes of any size.

    Raises:
        SignatureError: the bundle's samples cannot be given to it.
    """
    what = "images" if signature.takes_images else f"{expected.name} as"
    if not fits_input(found, expected, signature.sizes):
        raise SignatureError(
            f"{path} takes {what} {found.dtype} [{axes(found.shape or ())}], "
            f"the bundle's are {expected.dtype} [{axes(expected.shape)}]: "
            f"verify it with the bundle of that {'image' if signature.takes_images else 'input'}, "
            "or export it for this one"
        )
    first = found.shape[0] if expected.has_batch and found.shape else None
    if isinstance(first, int) and not 1 <= first <= LARGEST_BATCH:
        raise SignatureError(
            f"{path} takes exactly {first} {'images' if signature.takes_images else 'samples'} a call, "
            f"parity runs batches of 1 to {LARGEST_BATCH}: export it with a free batch axis"
        )


def fits_output(found: Declared, expected: OutputSpec | Summary, sizes: Mapping[str, int]) -> bool:
    """Whether a declared output can be the bundle's."""
    return _returnable(found.dtype, expected) and _fits(found.shape, expected, sizes)


def check_output(path: Path | str, found: Declared, expected: OutputSpec, sizes: Mapping[str, int]) -> None:
    """Check an output, declared or returned, against the bundle's, all but the number of rows.

    Raises:
        SignatureError: it is of another dtype or shape.
    """
    name, logits = expected.name, expected.kind is OutputKind.LOGITS
    remedy = f"export the {name} themselves" if logits else f"export {name} itself"
    remedy += ", without what follows them" if logits else ", without what follows it"
    if not _returnable(found.dtype, expected):
        kind = "floating-point" if expected.is_floating else expected.dtype
        raise SignatureError(f"{path} returns {found.dtype}, expected {kind} {name} [{axes(expected.shape)}]: {remedy}")
    if not _fits(found.shape, expected, sizes):
        if len(expected.shape) == 2 and _only_ones(found.shape or ()):
            remedy = "flatten them to [batch, class]"
        raise SignatureError(
            f"{path}: expected {name} of shape [{axes(expected.shape)}], found [{axes(found.shape or ())}]: {remedy}"
        )


def logits_output(path: Path | str, names: Sequence[str], wanted: str) -> int:
    """The position of the only output of a signature among those of a file: the one of that name, or the only one.

    Raises:
        SignatureError: there are several, and none is called so.
    """
    if wanted in names:
        return names.index(wanted)
    if len(names) == 1:
        return 0
    raise SignatureError(
        f"{path} has {len(names)} outputs, {', '.join(names) or 'none'}, and none is called {wanted}: "
        f"rename the one with the {wanted} to {wanted}, or export that one alone"
    )


def check_precision(path: Path | str, limits: Limits, precision: Precision) -> None:
    """Refuse to judge a program in half precision by the tolerances of another.

    Raises:
        ParityError: its inputs or its outputs are half precision, and that was not asked for.
    """
    if limits.narrow is not None and precision is not Precision.FLOAT16:
        raise ParityError(
            f"{path} takes or returns {limits.narrow}, which cannot hold what {precision} asks for: "
            f"judge it with {spelled('precision=Precision.FLOAT16', '--precision float16')}"
        )


def narrow_of(found: Mapping[str, str | None], expected: Sequence[TensorSpec]) -> str | None:
    """The half-precision type among those found, by name, where the bundle's own is wider."""
    return next(
        (str(found[item.name]) for item in expected if found.get(item.name) in NARROW and item.dtype not in NARROW),
        None,
    )


def cast_input(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Values in the type that a program takes; floats beyond its range become infinite, as they do in it.

    Raises:
        ParityError: whole numbers do not fit into it.
    """
    if values.dtype.kind in "iu" and dtype.kind in "iu" and values.size and values.dtype != dtype:
        limit = np.iinfo(dtype.name)
        low, high = int(values.min()), int(values.max())
        if low < limit.min or high > limit.max:
            raise ParityError(f"the golden samples hold {low} to {high}, which {dtype} cannot: export it with int64")
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def axes(shape: Sequence[object]) -> str:
    """The axes of a shape, in words."""
    return ", ".join("?" if axis is None else str(axis) for axis in shape)


def _castable(found: str | None, expected: str) -> bool:
    """Whether a program's dtype can hold the bundle's values: pixels and floats as any float, ids in any width."""
    if found is None or found == expected:
        return True
    if expected in _FLOATS or expected == "uint8":
        return found in _FLOATS
    return {found, expected} == {"int32", "int64"}


def _returnable(found: str | None, expected: TensorSpec) -> bool:
    if found is None or found == expected.dtype:
        return True
    return found in _FLOATS if expected.is_floating else found in _WHOLE and expected.dtype in _WHOLE


def _fits(found: Sequence[int | str | None] | None, expected: TensorSpec, sizes: Mapping[str, int]) -> bool:
    if found is None:
        return True
    if len(found) != len(expected.shape):
        return False
    pairs = zip(found, expected.shape, strict=True)
    return all(not isinstance(size, int) or _allows(wanted, size, sizes) for size, wanted in pairs)


def _allows(wanted: int | str, size: int, sizes: Mapping[str, int]) -> bool:
    if isinstance(wanted, int):
        return size == wanted
    return wanted in (BATCH, MEMBER) or sizes.get(wanted, size) == size


def _only_ones(shape: Sequence[object]) -> bool:
    return len(shape) > 2 and all(axis == 1 for axis in shape[2:])
