"""What every program must fit, whatever runs it: which output the logits are, and in which types it may be called."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ParityError
from hnexport.parity.limits import LARGEST_BATCH, Limits
from hnexport.parity.tolerances import Precision
from hnexport.spec import OutputSpec, TensorSpec

__all__ = [
    "ENSEMBLE_AXES",
    "NARROW",
    "GraphSignature",
    "cast_images",
    "check_image",
    "check_logits",
    "check_precision",
    "logits_output",
    "narrow_of",
    "signature_of",
]

Array = NDArray[np.generic]

NARROW = ("float16", "bfloat16")
ENSEMBLE_AXES = [3, 2, 1, 1]  # of the outputs of an ensemble: logits of each member, and three means
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class GraphSignature:
    """What a bundle's graph takes, the condition id and the image, and what it gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]


def signature_of(manifest: Manifest) -> GraphSignature:
    """The signature of a bundle's graph."""
    return GraphSignature(inputs=manifest.inputs, outputs=manifest.outputs)


def logits_output(path: Path | str, names: Sequence[str], wanted: str) -> int:
    """The position of the logits among the outputs: the one of that name, or the only one.

    Raises:
        ParityError: there are several, and none is called so.
    """
    if wanted in names:
        return names.index(wanted)
    if len(names) == 1:
        return 0
    raise ParityError(
        f"{path} has {len(names)} outputs, {', '.join(names) or 'none'}, and none is called {wanted}: "
        f"rename the one with the logits to {wanted}, or export that one alone"
    )


def check_image(path: Path | str, dtype: str, shape: Sequence[object], expected: TensorSpec) -> None:
    """Check the image that a program declares against the bundle's; names and None are axes of any size.

    Raises:
        ParityError: the bundle's images cannot be given to it.
    """
    fitting = len(shape) == len(expected.shape) and all(
        not isinstance(found, int) or found == size for found, size in zip(shape[1:], expected.shape[1:], strict=True)
    )
    castable = dtype == expected.dtype or dtype in _FLOATS
    if not fitting or not castable:
        raise ParityError(
            f"{path} takes images {dtype} [{_axes(shape)}], "
            f"the bundle's are {expected.dtype} [{_axes(expected.shape)}]: "
            "verify it with the bundle of that image, or export it for this one"
        )
    if isinstance(shape[0], int) and not 1 <= shape[0] <= LARGEST_BATCH:
        raise ParityError(
            f"{path} takes exactly {shape[0]} images a call, parity runs batches of 1 to {LARGEST_BATCH}: "
            "export it with a free batch axis"
        )


def check_logits(path: Path | str, dtype: str, shape: Sequence[object] | None, expected: TensorSpec) -> None:
    """Check logits, declared or returned, against the bundle's, all but the number of rows.

    Raises:
        ParityError: they are no floating-point `[batch, class]`.
    """
    remedy = "export the logits themselves, without what follows them"
    if dtype not in _FLOATS:
        raise ParityError(f"{path} returns {dtype}, expected floating-point logits [{_axes(expected.shape)}]: {remedy}")
    if shape is None:
        return
    classes = shape[-1] if len(shape) else None
    if len(shape) != len(expected.shape) or (isinstance(classes, int) and classes != expected.shape[-1]):
        remedy = "flatten them to [batch, class]" if _only_ones(shape) else remedy
        raise ParityError(
            f"{path}: expected logits of shape [{_axes(expected.shape)}], found [{_axes(shape)}]: {remedy}"
        )


def check_precision(path: Path | str, limits: Limits, precision: Precision) -> None:
    """Refuse to judge a program in half precision by the tolerances of another.

    Raises:
        ParityError: its image or its logits are half precision, and that was not asked for.
    """
    if limits.narrow is not None and precision is not Precision.FLOAT16:
        raise ParityError(
            f"{path} takes or returns {limits.narrow}, which cannot hold what {precision} asks for: "
            "judge it with --precision float16"
        )


def narrow_of(*dtypes: str) -> str | None:
    """The half-precision type among these, if any."""
    return next((dtype for dtype in dtypes if dtype in NARROW), None)


def cast_images(images: Array, dtype: np.dtype[np.generic]) -> Array:
    """The images in the type that a program takes; values beyond its range become infinite, as they do in it."""
    with np.errstate(over="ignore"):
        return images.astype(dtype, copy=False)


def _axes(shape: Sequence[object]) -> str:
    return ", ".join("?" if axis is None else str(axis) for axis in shape)


def _only_ones(shape: Sequence[object]) -> bool:
    return len(shape) > 2 and all(axis == 1 for axis in shape[2:])
