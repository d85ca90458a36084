"""What a user says about an output. Standard library only."""

from dataclasses import dataclass

from hnexport.spec.tensors import OutputKind

__all__ = ["Kind", "Logits"]


@dataclass(frozen=True)
class Logits:
    """An output that holds logits: members are averaged after a softmax, and disagree by entropies.

    Attributes:
        axis: along which the classes lie; the batch counts, so that 1 is that of `[batch, class]`, and -1 is the last.
    """

    axis: int = 1


Kind = Logits | OutputKind | str
"""`Logits(axis=…)`, or `"logits"` for `Logits()`, or `"value"`."""
