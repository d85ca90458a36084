"""How many weights an ensemble has, by the labels that hypnettorch prints when it makes such a network."""

import math
from collections.abc import Iterable, Sequence

from hnexport.spec.bases import bases_of, unquantised
from hnexport.spec.tensors import Slot, StoredKind, StoredTensor

__all__ = ["weight_counts"]


def weight_counts(slots: Sequence[Slot], stored: Sequence[StoredTensor], members: int) -> dict[str, int | float]:
    """Counts (integers) and compression ratios (floats) by label; what is not trained, such as statistics, is left out.

    Where nothing belongs to a hypernetwork, its rows are left out.
    """
    own = [slot for slot in slots if slot.trained and slot.alias_of is None]
    network = sum(slot.size for slot in own)
    weights = [tensor for tensor in unquantised(stored) if tensor.trained]
    unconditional, conditional = _halves(weights)
    structured = [tensor for tensor in weights if tensor.hypernet is not None]
    return {
        "main network: weights": network,
        **(_structured_counts(own, structured, {tensor.slot for tensor in stored}) if structured else {}),
        "container: weights": unconditional + conditional,
        "container: unconditional weights": unconditional,
        "container: conditional weights": conditional,
        "container: outputs": network,
        "container: compression ratio": _ratio(unconditional + conditional, network),
        "each further member: weights": conditional // members,
    }


def _structured_counts(
    own: Iterable[Slot], structured: Sequence[StoredTensor], filled: set[str | None]
) -> dict[str, int | float]:
    """Of the hypernetwork alone: embeddings are `[member, chunk, size]`, bases `[…, chunk size]`.

    Of one that is taken as it is, chunks are not known where members have embeddings of another kind.
    """
    unconditional, conditional = _halves(structured)
    generated = sum(slot.size for slot in own if slot.name not in filled)
    embeddings = [tensor for tensor in structured if tensor.kind is StoredKind.EMBEDDING]
    by_chunk = all(len(tensor.shape) == 3 for tensor in embeddings) and bool(embeddings)
    bases = bases_of(structured)
    return {
        "internal hypernetworks": len({tensor.hypernet for tensor in bases or structured}),
        **({"chunks of one member": sum(tensor.shape[1] for tensor in embeddings)} if bases and by_chunk else {}),
        **(
            {"internal hypernetworks: combined output size": sum(tensor.shape[-1] for tensor in bases)} if bases else {}
        ),
        "structured hypernetwork: weights": unconditional + conditional,
        "structured hypernetwork: unconditional weights": unconditional,
        "structured hypernetwork: conditional weights": conditional,
        "structured hypernetwork: outputs": generated,
        "structured hypernetwork: compression ratio": _ratio(unconditional + conditional, generated),
    }


def _halves(tensors: Sequence[StoredTensor]) -> tuple[int, int]:
    """Elements that all members share, and elements of single members."""
    conditional = sum(tensor.size for tensor in tensors if tensor.is_conditional)
    return sum(tensor.size for tensor in tensors) - conditional, conditional


def _ratio(stored: int, network: int) -> float:
    return stored / network if network else math.nan
