"""How a graph `(condition id, inputs) -> outputs` is called, whatever its inputs and outputs are named and typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.errors import ParityError
from hnexport.parity.limits import Limits
from hnexport.parity.matching import (
    MatchedInputs,
    match_inputs,
    match_member_inputs,
    match_outputs,
    match_summaries,
)
from hnexport.parity.signature import Declared, GraphSignature, cast_input, narrow_of

__all__ = ["NUMPY_TYPES", "OnnxSignature", "onnx_signature"]

Array = NDArray[np.generic]

NUMPY_TYPES = {
    "tensor(bool)": "bool",
    "tensor(float16)": "float16",
    "tensor(bfloat16)": "bfloat16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(uint16)": "uint16",
    "tensor(int16)": "int16",
    "tensor(uint32)": "uint32",
    "tensor(int32)": "int32",
    "tensor(uint64)": "uint64",
    "tensor(int64)": "int64",
}
_ID_BITS = {"int64": 64, "int32": 32}


@dataclass(frozen=True, kw_only=True)
class OnnxSignature:
    """How to call a graph.

    Attributes:
        cond_id: empty of a file that is one member by itself.
        id_axes: of the condition id: an integer scalar, or `[1]`; of an ensemble `[member]`.
        inputs: by the bundle's names, the graph's own name and its dtype.
        outputs: by the bundle's names, or those of `hnexport.spec.summaries`, the graph's own.
    """

    cond_id: str
    id_type: str
    id_axes: int
    inputs: Mapping[str, tuple[str, str]]
    outputs: Mapping[str, str]
    limits: Limits

    def feed(self, cond_id: int | NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The inputs of one run."""
        given = {own: cast_input(inputs[name], np.dtype(dtype)) for name, (own, dtype) in self.inputs.items()}
        if self.limits.one_member:
            return given
        ids = np.asarray(cond_id, dtype=self.id_type)
        shaped = ids.reshape([-1] if self.limits.together else [1] * self.id_axes)
        return {self.cond_id: shaped, **given}

    def run(
        self, session: onnxruntime.InferenceSession, cond_id: int | NDArray[np.int64], inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        """The outputs by the bundle's names."""
        found = session.run(list(self.outputs.values()), self.feed(cond_id, inputs))
        return dict(zip(self.outputs, found, strict=True))


def onnx_signature(
    path: Path, session: onnxruntime.InferenceSession, signature: GraphSignature, *, may_be_one: bool = False
) -> OnnxSignature:
    """Find out how to call a graph.

    Args:
        may_be_one: whether it may be one member by itself, which takes the network's inputs alone.

    Raises:
        ParityError: it cannot be called with a condition id and the bundle's inputs, or returns other outputs.
    """
    given = [_declared(item) for item in session.get_inputs()]
    alone = may_be_one and len(given) == len(signature.inputs) - 1
    matched = (match_member_inputs if alone else match_inputs)(path, given, signature)
    own = dict(zip((spec.name for spec in signature.inputs[1:]), matched.inputs, strict=True))
    for name, item in own.items():
        if item.dtype == "bfloat16":
            what = "images" if signature.takes_images else name
            raise ParityError(
                f"{path} takes {what} in bfloat16, which onnxruntime cannot be given: put a Cast in front"
            )
    outputs, together = _outputs(path, session, signature, matched)
    for item in outputs.values():
        if item.dtype == "bfloat16":
            raise ParityError(f"{path} returns bfloat16, which onnxruntime cannot hand over: put a Cast behind it")
    dtypes = {name: item.dtype for name, item in (*own.items(), *outputs.items())}
    cond_id = matched.cond_id
    id_type = "int64" if cond_id is None else str(cond_id.dtype)
    return OnnxSignature(
        cond_id="" if cond_id is None else cond_id.name,
        id_type=id_type,
        id_axes=0 if cond_id is None else len(cond_id.shape or ()),
        inputs={name: (item.name, str(item.dtype)) for name, item in own.items()},
        outputs={name: item.name for name, item in outputs.items()},
        limits=Limits(
            id_bits=_ID_BITS[id_type],
            batch_sizes=_batch(path, signature, own),
            narrow=narrow_of(dtypes, (*signature.inputs, *signature.outputs, *signature.summaries)),
            together=together,
            one_member=cond_id is None,
            defaults=tuple(item.name for item in session.get_overridable_initializers()),
        ),
    )


def _outputs(
    path: Path, session: onnxruntime.InferenceSession, signature: GraphSignature, matched: MatchedInputs
) -> tuple[dict[str, Declared], bool]:
    """The outputs by the bundle's names, and whether they are those of several members."""
    ids = () if matched.cond_id is None else matched.cond_id.shape or ()
    count = ids[0] if ids else None
    declared = [_declared(item) for item in session.get_outputs()]
    found = match_summaries(declared, signature) if len(ids) == 1 else None
    if found is not None:
        if isinstance(count, int):
            raise ParityError(f"{path} takes exactly {count} members a call: export it with a free member axis")
        return {item.name: declared[at] for item, at in zip(signature.summaries, found, strict=True)}, True
    if isinstance(count, int) and count != 1:
        raise ParityError(f"{path} takes {count} condition ids and returns no ensemble: give the graph of one")
    known = [_declared(item, unsaid=True) for item in session.get_outputs()]
    positions = match_outputs(path, known, signature)
    return {spec.name: known[at] for spec, at in zip(signature.outputs, positions, strict=True)}, False


def _batch(path: Path, signature: GraphSignature, own: Mapping[str, Declared]) -> tuple[int, ...] | None:
    """The only batch size that the graph declares; None where it takes any."""
    fixed: dict[int, str] = {}
    for spec in signature.inputs[1:]:
        first = (own[spec.name].shape or (None,))[0]
        if spec.has_batch and isinstance(first, int):
            fixed[first] = spec.name
    if len(fixed) > 1:
        told = ", ".join(f"{size} of {name}" for size, name in fixed.items())
        raise ParityError(f"{path} takes {told} a call: export it with one free batch axis")
    return tuple(fixed) or None


def _declared(item: onnxruntime.NodeArg, *, unsaid: bool = False) -> Declared:
    """An input or output of a session; with `unsaid`, no axes are an unknown shape, as onnxruntime gives it."""
    shape: Sequence[int | str | None] = item.shape
    return Declared(
        name=item.name,
        dtype=NUMPY_TYPES.get(item.type, str(item.type)),
        shape=None if unsaid and not shape else tuple(shape),
    )
