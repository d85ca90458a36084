"""The weight counts of a specification, before anything is built."""

from hnexport.networks.wide_resnet.family import counts, describe
from hnexport.networks.wide_resnet.spec import PipelineSpec

__all__ = ["weight_summary"]


def weight_summary(spec: PipelineSpec) -> dict[str, int | float]:
    """The counts that hypnettorch prints when it makes such a network, by label: numbers of weights, and a ratio."""
    return counts(describe(spec))
