"""What an ensemble says of several members together: the outputs of `ensemble.onnx`, as data.

Each output of the network gives `member_NAME`, the members' own values with the member as a further first axis. Logits
also give mean probabilities, predictive entropy and mutual information, a floating-point value its mean and variance
over the members (the population's, divided by the number of members); other values have no mean.
"""

from dataclasses import dataclass
from enum import StrEnum

from hnexport.spec import MEMBER, OutputKind, OutputSpec, Signature, TensorSpec

__all__ = ["Summary", "SummaryKind", "summaries"]


class SummaryKind(StrEnum):
    """What is said."""

    MEMBERS = "members"
    MEAN_PROBABILITIES = "mean_probabilities"
    PREDICTIVE_ENTROPY = "predictive_entropy"
    MUTUAL_INFORMATION = "mutual_information"
    MEAN = "mean"
    VARIANCE = "variance"


@dataclass(frozen=True, kw_only=True)
class Summary(TensorSpec):
    """One output of an ensemble.

    Attributes:
        of: the network's output, by name.
    """

    of: str
    kind: SummaryKind


def summaries(signature: Signature) -> tuple[Summary, ...]:
    """The outputs of an ensemble over a network with this signature, in their order.

    Where only one output is logits, what is said of them has no suffix; otherwise it is followed by `_NAME`.
    """
    logits = [output for output in signature.outputs if output.kind is OutputKind.LOGITS]
    found: list[Summary] = []
    for output in signature.outputs:
        found.append(
            Summary(
                name=f"member_{output.name}",
                dtype=output.dtype,
                shape=(MEMBER, *output.shape),
                of=output.name,
                kind=SummaryKind.MEMBERS,
            )
        )
        if output.kind is OutputKind.LOGITS:
            found += _of_logits(output, "" if len(logits) == 1 else f"_{output.name}")
        elif output.is_floating:
            found += [
                Summary(
                    name=f"{kind.value}_{output.name}",
                    dtype=output.dtype,
                    shape=output.shape,
                    of=output.name,
                    kind=kind,
                )
                for kind in (SummaryKind.MEAN, SummaryKind.VARIANCE)
            ]
    return tuple(found)


def _of_logits(output: OutputSpec, suffix: str) -> list[Summary]:
    without = tuple(size for axis, size in enumerate(output.shape) if axis != output.axis)
    shapes = {
        SummaryKind.MEAN_PROBABILITIES: output.shape,
        SummaryKind.PREDICTIVE_ENTROPY: without,
        SummaryKind.MUTUAL_INFORMATION: without,
    }
    return [
        Summary(name=f"{kind.value}{suffix}", dtype=output.dtype, shape=shape, of=output.name, kind=kind)
        for kind, shape in shapes.items()
    ]
