"""What a service can give of a network: its outputs, and what the members say of them together, by name."""

from hnexport.runtime.anytime import can_stop
from hnexport.spec import BATCH, OutputKind, OutputSpec, Signature, TensorSpec
from hnexport.spec.summaries import Summary, SummaryKind, summaries

__all__ = ["MEMBERS_USED", "summary_specs", "votes_name"]

MEMBERS_USED = "members_used"
"""How many members each sample took, where a rule says when they are enough."""


def votes_name(signature: Signature, output: OutputSpec) -> str:
    """`votes`, with the output's name where several are logits."""
    several = sum(item.kind is OutputKind.LOGITS for item in signature.outputs) > 1
    return f"votes_{output.name}" if several else "votes"


def summary_specs(signature: Signature) -> tuple[TensorSpec, ...]:
    """The outputs of a summary: by the names that `ensemble.onnx` gives them, in the runtime's dtypes, and votes."""
    found = [
        TensorSpec(name=summary.name, dtype=_dtype(summary), shape=summary.shape) for summary in summaries(signature)
    ]
    found += [
        TensorSpec(name=votes_name(signature, output), dtype="int64", shape=output.shape)
        for output in signature.outputs
        if output.kind is OutputKind.LOGITS
    ]
    if can_stop(signature):
        found.append(TensorSpec(name=MEMBERS_USED, dtype="int64", shape=(BATCH,)))
    return tuple(found)


def _dtype(summary: Summary) -> str:
    """Means are computed in float64; members' logits are float32, or float64 where the network gives that."""
    if summary.kind is not SummaryKind.MEMBERS:
        return "float64"
    return "float32" if summary.dtype == "float16" else summary.dtype
