"""From a specification to the main network's module."""

import torch
from torch import nn

from hnexport.networks.wide_resnet import WideResNet
from hnexport.spec import WideResNetSpec

__all__ = ["build_network", "network_skeleton"]


def build_network(spec: WideResNetSpec) -> nn.Module:
    """The main network with PyTorch's own random weights, in evaluation mode."""
    return WideResNet(spec).eval()


def network_skeleton(spec: WideResNetSpec) -> nn.Module:
    """The main network without storage (on the meta device), for `torch.func.functional_call`."""
    with torch.device("meta"):
        return build_network(spec)
