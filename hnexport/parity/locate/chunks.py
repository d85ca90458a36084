"""Where weight generation departs, of slots that a hypernetwork generates: embedding, chunk or assembly."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.families import family
from hnexport.hypernet.plan import Assembly, InternalHypernet, Piece
from hnexport.parity.locate.steps import Kind, Step
from hnexport.parity.trace.slots import tensor_error
from hnexport.spec import StoredKind, StoredTensor
from hnexport.spec.source import EnsembleSource

__all__ = ["chunk_fault", "of_all_members"]

Array = NDArray[np.generic]

ROUNDED = 1e-2  # an embedding that is no further off than this was rounded, not exchanged


def chunk_fault(
    source: EnsembleSource,
    slot: str,
    expected: Tensor,
    embeddings: Mapping[str, Tensor],
    values: Sequence[Array],
    tolerance: float,
) -> Step | None:
    """The embedding or chunk from which a wrong weight comes; None where they are right, so that its assembly is wrong.

    Args:
        expected: the slot's tensor, float64.
        embeddings: as `of_all_members` gives them.
        values: everything that the artifact computed.
    """
    plan = family(source.family).plan(source.spec)
    if slot not in plan.assembly:
        return None
    assembly = plan.assembly[slot]
    hypernet = next(item for item in plan.hypernets if item.name == assembly.pieces[0].hypernet)
    step = _embedding_step(hypernet, embeddings[hypernet.name], values, tolerance)
    if not step.passed:
        return step
    for piece, reference in _cut(assembly, expected):
        errors = [tensor_error(row, reference) for row in _rows(values, hypernet, piece)]
        if errors and min(errors) > tolerance:
            place = f"hypernet.{hypernet.name}.chunk{piece.chunk}"
            detail = "the embedding is right: the basis, its bias or a hidden layer is not"
            return Step(kind=Kind.CHUNK, place=place, error=min(errors), passed=False, detail=detail)
    return None


def of_all_members(stored: Sequence[StoredTensor], tensors: Mapping[str, Tensor], member: int) -> dict[str, Tensor]:
    """`[member, chunk, embedding]`, float64, by internal hypernetwork: of all members, the one in question first."""
    return {
        item.hypernet: tensors[item.name][
            [member, *(n for n in range(len(tensors[item.name])) if n != member)]
        ].double()
        for item in stored
        if item.kind is StoredKind.EMBEDDING and item.hypernet is not None
    }


def _embedding_step(hypernet: InternalHypernet, embeddings: Tensor, values: Sequence[Array], tolerance: float) -> Step:
    place, size = f"hypernet.{hypernet.name}.embedding", tuple(embeddings.shape[1:])
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
    if len(pieces) == 1 or axis is None:
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
        # chunks that come out joined: see `hnexport.hypernet.joined`
        joined = (piece.shape[0], hypernet.chunks, piece.size // max(piece.shape[0], 1))
        if piece.size == hypernet.chunk_size and value.shape == joined:
            yield value[:, piece.chunk].reshape(-1)
