"""The weight counts of a specification, before anything is built."""

from hnexport.networks.wide_resnet.family import describe
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.spec.counts import weight_counts

__all__ = ["weight_summary"]


def weight_summary(spec: PipelineSpec) -> dict[str, int | float]:
    """The counts that hypnettorch prints when it makes such a network, by label."""
    described = describe(spec)
    return weight_counts(described.slots, described.stored, described.members)
