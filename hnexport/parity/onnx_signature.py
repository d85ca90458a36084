"""How a graph `(condition id, image) -> logits` is called, whatever its inputs and outputs are named and typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ParityError
from hnexport.export.ensemble import ENSEMBLE_OUTPUTS
from hnexport.parity.limits import Limits
from hnexport.parity.signature import (
    ENSEMBLE_AXES,
    NARROW,
    cast_images,
    check_image,
    check_logits,
    logits_output,
    narrow_of,
)

__all__ = ["NUMPY_TYPES", "OnnxSignature", "onnx_signature"]

Array = NDArray[np.generic]

NUMPY_TYPES = {
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_ID_BITS = {"tensor(int64)": 64, "tensor(int32)": 32}


@dataclass(frozen=True, kw_only=True)
class OnnxSignature:
    """How to call a graph.

    Attributes:
        id_type, id_axes: of the condition id: an integer scalar, or `[1]`; of an ensemble `[member]`.
        outputs: the name of the logits; of an ensemble the names of `ENSEMBLE_OUTPUTS`.
    """

    cond_id: str
    id_type: str
    id_axes: int
    image: str
    image_type: str
    outputs: tuple[str, ...]
    limits: Limits

    def feed(self, cond_id: int | NDArray[np.int64], images: Array) -> Mapping[str, Array]:
        """The inputs of one run."""
        ids = np.asarray(cond_id, dtype=self.id_type)
        shaped = ids.reshape([-1] if self.limits.together else [1] * self.id_axes)
        return {self.cond_id: shaped, self.image: cast_images(images, np.dtype(self.image_type))}


def onnx_signature(path: Path, session: onnxruntime.InferenceSession, manifest: Manifest) -> OnnxSignature:
    """Find out how to call a graph.

    Raises:
        ParityError: it cannot be called with a condition id and an image, or returns no logits.
    """
    (cond_id, id_type, id_shape), (image, image_type, image_shape) = _inputs(path, session, manifest)
    dtype = NUMPY_TYPES.get(image_type, image_type)
    check_image(path, dtype, image_shape, manifest.inputs[1])
    if dtype == "bfloat16":
        raise ParityError(f"{path} takes images in bfloat16, which onnxruntime cannot be given: put a Cast in front")
    outputs = session.get_outputs()
    named = set(ENSEMBLE_OUTPUTS) <= {item.name for item in outputs}
    together = len(id_shape) == 1 and (named or [len(item.shape) for item in outputs] == ENSEMBLE_AXES)
    _check_ids(path, id_shape, together=together)
    if together:
        taken = ENSEMBLE_OUTPUTS if named else tuple(item.name for item in outputs)
        returned = next((dtype for dtype in map(_type, outputs) if dtype in NARROW), "float32")
    else:
        logits = _logits(path, outputs, manifest)
        taken, returned = (logits.name,), _type(logits)
    batch = image_shape[0]
    return OnnxSignature(
        cond_id=cond_id,
        id_type=NUMPY_TYPES[id_type],
        id_axes=len(id_shape),
        image=image,
        image_type=dtype,
        outputs=taken,
        limits=Limits(
            id_bits=_ID_BITS[id_type],
            batch_sizes=(batch,) if isinstance(batch, int) else None,
            narrow=narrow_of(dtype, returned),
            together=together,
            defaults=tuple(item.name for item in session.get_overridable_initializers()),
        ),
    )


def _check_ids(path: Path, shape: list[object], *, together: bool) -> None:
    """Refuse a fixed number of ids but one: a member alone, or any number of them, is what is asked for."""
    count = shape[0] if shape else None
    if together and isinstance(count, int):
        raise ParityError(f"{path} takes exactly {count} members a call: export it with a free member axis")
    if not together and isinstance(count, int) and count != 1:
        raise ParityError(f"{path} takes {count} condition ids and returns no ensemble: give the graph of one")


def _logits(path: Path, outputs: Sequence[onnxruntime.NodeArg], manifest: Manifest) -> onnxruntime.NodeArg:
    """The output with the logits of one member.

    Raises:
        ParityError: it cannot be told, or they are not the bundle's.
    """
    expected = manifest.outputs[0]
    found = outputs[logits_output(path, [item.name for item in outputs], expected.name)]
    check_logits(path, _type(found), found.shape or None, expected)
    if _type(found) == "bfloat16":
        raise ParityError(f"{path} returns bfloat16, which onnxruntime cannot hand over: put a Cast behind it")
    return found


def _type(item: onnxruntime.NodeArg) -> str:
    return NUMPY_TYPES.get(item.type, str(item.type))


def _inputs(
    path: Path, session: onnxruntime.InferenceSession, manifest: Manifest
) -> tuple[tuple[str, str, list[object]], tuple[str, str, list[object]]]:
    """Name, type and shape of the condition id and of the image: an integer scalar and the input with more axes."""
    found = [(item.name, item.type, item.shape) for item in session.get_inputs()]
    ids = [item for item in found if item[1] in _ID_BITS and len(item[2]) <= 1]
    images = [item for item in found if len(item[2]) == len(manifest.inputs[1].shape)]
    if len(found) == 2 and len(ids) == len(images) == 1:
        return ids[0], images[0]
    signature = ", ".join(f"{name}: {kind} {shape}" for name, kind, shape in found) or "none"
    reason = ""
    if not ids:
        reason = "; the condition id seems baked in"
    elif len(found) > 2 and len(ids) == len(images) == 1:
        more = [item[0] for item in found if item not in (ids[0], images[0])]
        reason = f"; give {', '.join(more)} a value inside the file, as initializers"
    expected = ", ".join(f"{item.name} ({item.dtype} {list(item.shape)})" for item in manifest.inputs)
    raise ParityError(f"{path}: expected the inputs {expected}, found {signature}{reason}")
