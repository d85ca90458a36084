"""Layers of template banks as plain ones: a kernel is a sum of templates.

A bank holds templates `weight` `[out, height, width, in / split, template]`, a layer coefficients `[template, split]`:
input channel `c * split + s` of its kernel is channel `c` of the sum of all templates with the coefficients `[:, s]`.
The output layer's is `[class, feature, template]` with coefficients `[template, 1]`, and it has a bias, `[class,
template]`; convolutions have none.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from hnexport.networks.wide_resnet.checkpoints.late_phase.layers import COEFFICIENTS, Layer

__all__ = ["HEAD", "averaged", "plain", "scaled"]

HEAD = "head"
_EPSILON = 1e-5  # torch.nn.BatchNorm2d's


def plain(layer: Layer) -> Layer:
    """The same layer without a bank, its kernels and bias in float64; as it is where it has none."""
    if not layer.templates:
        return layer
    return Layer(name=layer.name, members=tuple(_summed(layer, own[COEFFICIENTS]) for own in layer.members))


def averaged(layer: Layer) -> Layer:
    """One member that computes the mean of what all members' layers compute of the same input, in float64.

    For convolutions and output layers those are the mean kernels; for a batch norm it is the mean of the affine maps
    that the members' scales, shifts and statistics make, around the mean statistics.
    """
    if layer.templates:
        mean = torch.stack([own[COEFFICIENTS].double() for own in layer.members]).mean(0)
        return Layer(name=layer.name, members=({COEFFICIENTS: mean},), templates=layer.templates)
    stacked = {
        leaf: torch.stack([own[leaf].double() for own in layer.members]) for leaf in layer.members[0]
    }  # [member, …]
    means = {leaf: tensor.mean(0) for leaf, tensor in stacked.items()}
    if "running_var" in stacked:
        means |= _mean_affine(stacked, means)
    return Layer(name=layer.name, members=(means,))


def scaled(layer: Layer, factor: float) -> Layer:
    """The output layer with its logits times `factor`, in float64."""
    by_member = [
        {leaf: own[leaf] if leaf == COEFFICIENTS else own[leaf].double() * factor for leaf in own}
        for own in layer.members
    ]
    templates = {leaf: tensor.double() * factor for leaf, tensor in layer.templates.items()}
    return Layer(name=layer.name, members=tuple(by_member), templates=templates)


def _summed(layer: Layer, coefficients: Tensor) -> dict[str, Tensor]:
    templates, own = {leaf: one.double() for leaf, one in layer.templates.items()}, coefficients.double()
    weight = templates["weight"] @ own
    if layer.name == HEAD:
        return {"weight": weight.transpose(1, 2).flatten(1), "bias": (templates["bias"] @ own).sum(1)}
    return {"weight": weight.flatten(3).permute(0, 3, 1, 2)}


def _mean_affine(stacked: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> dict[str, Tensor]:
    slopes = stacked["weight"] / (stacked["running_var"] + _EPSILON).sqrt()
    slope, shift = slopes.mean(0), (stacked["bias"] - slopes * stacked["running_mean"]).mean(0)
    return {
        "weight": slope * (means["running_var"] + _EPSILON).sqrt(),
        "bias": shift + slope * means["running_mean"],
    }
