"""One comparison on the way of the data."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Kind", "Step"]


class Kind(StrEnum):
    """What is compared; the last two are outputs of the network, by what they mean."""

    EMBEDDING = "embedding"
    CHUNK = "chunk"
    WEIGHT = "assembled weight"
    LAYER = "layer"
    LOGITS = "logits"
    VALUE = "value"

    @property
    def is_inference(self) -> bool:
        """Whether it comes after the weights."""
        return self in (Kind.LAYER, Kind.LOGITS, Kind.VALUE)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One comparison on the way from embedding to outputs.

    Attributes:
        kind: what is compared.
        place: hypernetwork, chunk, slot, module or output.
        error: relative error; nan where the artifact has no such value (it was fused away).
        passed: whether it is within the tolerance.
        detail: what else is known.
    """

    kind: Kind
    place: str
    error: float
    passed: bool
    detail: str = ""
