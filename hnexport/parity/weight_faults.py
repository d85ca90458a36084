"""Where weight generation departs: embedding, chunk or assembly."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.hypernet.plan import Assembly, InternalHypernet, Piece
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.layers import Layer, LayerCall, LayerKind, call_weights
from hnexport.parity.weight_checks import tensor_error

__all__ = ["Kind", "Step", "generation_fault", "weight_steps"]

Array = NDArray[np.generic]

ROUNDED = 1e-2  # an embedding that is no further off than this was rounded, not exchanged


class Kind(StrEnum):
    """What is compared."""

    EMBEDDING = "embedding"
    CHUNK = "chunk"
    WEIGHT = "assembled weight"
    LAYER = "layer"
    LOGITS = "logits"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One comparison on the way from embedding to logits.

    Attributes:
        place: hypernetwork, chunk, slot, layer or block.
        error: relative error; nan where the artifact has no such value (it was fused away).
        detail: what else is known.
    """

    kind: Kind
    place: str
    error: float
    passed: bool
    detail: str = ""


def weight_steps(
    layers: Sequence[Layer],
    matched: Mapping[str, LayerCall],
    expected: Mapping[str, Tensor],
    tolerance: float,
) -> tuple[Step, ...]:
    """One step for each tensor of the main network that a layer of the artifact takes."""
    found = call_weights(layers, matched)
    fused = {
        layer.name
        for layer, following in itertools.pairwise(layers)
        if layer.kind is LayerKind.CONVOLUTION and following.kind is LayerKind.NORM and following.name not in matched
    }
    steps = []
    for layer in layers:
        for slot in layer.slots:
            if slot.name not in found:
                steps.append(
                    Step(kind=Kind.WEIGHT, place=slot.name, error=math.nan, passed=True, detail="not in the artifact")
                )
                continue
            error = tensor_error(found[slot.name], expected[slot.name])
            passed = error <= tolerance
            detail = "" if passed else _diagnosis(found[slot.name], expected, slot.name)
            if not passed and layer.name in fused:
                passed, detail = True, "the norm after it was folded into it"
            steps.append(Step(kind=Kind.WEIGHT, place=slot.name, error=error, passed=passed, detail=detail))
    return tuple(steps)


def generation_fault(
    spec: PipelineSpec,
    slot: str,
    expected: Tensor,
    embeddings: Mapping[str, Tensor],
    values: Sequence[Array],
    tolerance: float,
) -> Step | None:
    """The embedding or chunk from which a wrong weight comes; None where they are right, so that its assembly is wrong.

    Args:
        expected: the slot's tensor, float64.
        embeddings: `[member, chunk, embedding]` by internal hypernetwork, of all members, the one in question first.
        values: everything that the artifact computed.
    """
    plan = plan_chunks(spec)
    if slot not in plan.assembly:
        return None
    assembly = plan.assembly[slot]
    hypernet = next(item for item in plan.hypernets if item.name == assembly.pieces[0].hypernet)
    step = _embedding_step(hypernet, embeddings[hypernet.name], values, tolerance)
    if not step.passed:
        return step
    for piece, reference in _cut(assembly, expected):
        rows = list(_rows(values, hypernet, piece))
        errors = [tensor_error(row, reference) for row in rows]
        if errors and min(errors) > tolerance:
            place = f"hypernet.{hypernet.name}.chunk{piece.chunk}"
            detail = "the embedding is right: the basis, its bias or a hidden layer is not"
            return Step(kind=Kind.CHUNK, place=place, error=min(errors), passed=False, detail=detail)
    return None


def _embedding_step(hypernet: InternalHypernet, embeddings: Tensor, values: Sequence[Array], tolerance: float) -> Step:
    place, size = f"hypernet.{hypernet.name}.embedding", (hypernet.chunks, hypernet.embedding_size)
    candidates = [value.reshape(size) for value in values if value.shape in (size, (1, *size))]
    if not candidates:
        return Step(kind=Kind.EMBEDDING, place=place, error=math.nan, passed=True, detail="not in the artifact")
    errors = [min(tensor_error(value, member) for value in candidates) for member in embeddings]
    detail = ""
    if errors[0] > tolerance:
        other = int(np.argmin(errors))
        detail = "it is another member's" if errors[other] <= tolerance else "it is no member's"
        if errors[0] < ROUNDED:
            detail = "it is the member's own with less precision"
    return Step(kind=Kind.EMBEDDING, place=place, error=errors[0], passed=errors[0] <= tolerance, detail=detail)


def _cut(assembly: Assembly, weight: Tensor) -> Iterator[tuple[Piece, Tensor]]:
    """A slot's tensor, cut back into the parts of chunks that it was joined from."""
    pieces, axis = assembly.pieces, assembly.axis
    if axis is None:
        parts = torch.split(weight.reshape(-1), [piece.size for piece in pieces])
    else:
        parts = torch.split(weight, [piece.shape[axis] for piece in pieces], dim=axis)
    for piece, part in zip(pieces, parts, strict=True):
        yield piece, part.reshape(-1)


def _rows(values: Sequence[Array], hypernet: InternalHypernet, piece: Piece) -> Iterator[Array]:
    """Everything in the artifact that could be this part of this chunk."""
    start, stop = piece.offset, piece.offset + piece.size
    for value in values:
        if value.ndim and value.shape[-1] == hypernet.chunk_size and value.size <= hypernet.chunks * value.shape[-1]:
            for row in value.reshape(-1, hypernet.chunk_size):
                yield row[start:stop]
        # chunks that come out joined: see `hnexport.hypernet.layout`
        joined = (piece.shape[0], hypernet.chunks, piece.size // max(piece.shape[0], 1))
        if piece.size == hypernet.chunk_size and value.shape == joined:
            yield value[:, piece.chunk].reshape(-1)


def _diagnosis(found: Array, expected: Mapping[str, Tensor], slot: str) -> str:
    """What a wrong tensor looks like."""
    reference = expected[slot].numpy()
    if found.shape != reference.shape:
        return f"shape {list(found.shape)} instead of {list(reference.shape)}"
    scale = max(float(np.sqrt((reference**2).mean())), 1e-30)

    def same(candidate: Array) -> bool:
        if candidate.shape != found.shape:
            return False
        return bool(np.abs(candidate.astype(np.float64) - found.astype(np.float64)).max() < 1e-3 * scale)

    for axes, words in (((1, 0, 2, 3), "its channels are exchanged"), ((0, 1, 3, 2), "its rows and columns are")):
        if reference.ndim == 4 and same(reference.transpose(axes)):
            return words
    if reference.ndim == 4 and reference.shape[1] % 2 == 0 and same(np.roll(reference, reference.shape[1] // 2, 1)):
        return "its chunks are joined in the wrong order"
    for name, other in expected.items():
        if name != slot and tuple(other.shape) == found.shape and same(other.numpy()):
            return f"it is {name}"
    wrong = int((np.abs(reference - found) > 1e-5 * scale).sum())
    return f"{wrong} of {reference.size} elements differ"
