"""Wide ResNet WRN-d-k-B(3,3), after Zagoruyko & Komodakis, "Wide Residual Networks" (2016, arXiv 1605.07146).

Unit, block, group, network. What the shortcut convolution takes is said by the specification: the block's input as it
is, as in hypnettorch's `WRN`, or after batch norm and ReLU, as in the paper's code and in the public code of the
late-phase ensembles (arXiv 2007.12927).
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from hnexport.networks.wide_resnet.spec import ShortcutInput, WideResNetSpec

__all__ = ["Block", "Group", "WideResNet", "build_network"]


class Block(nn.Module):
    """Pre-activation residual block B(3,3): `shortcut(x) + conv2(relu(norm2(conv1(relu(norm1(x))))))`.

    The shortcut is the identity, or a 1x1 convolution where the block changes the width or the resolution; then, where
    the specification says `preactivated`, it is `shortcut(relu(norm1(x)))`.
    """

    def __init__(self, spec: WideResNetSpec, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels) if spec.batch_norm else nn.Identity()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=spec.conv_bias)
        self.dropout = nn.Dropout(spec.dropout)
        self.norm2 = nn.BatchNorm2d(channels) if spec.batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=spec.conv_bias)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != channels or stride != 1:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        changes = isinstance(self.shortcut, nn.Conv2d)
        self._preactivates = changes and spec.shortcut_input is ShortcutInput.PREACTIVATED

    def forward(self, x: Tensor) -> Tensor:
        """`x`: float `[batch, in_channel, height, width]`; returns `[batch, channel, height/stride, width/stride]`.

        Heights and widths that the stride does not divide are rounded up.
        """
        active = F.relu(self.norm1(x))
        hidden = self.dropout(self.conv1(active))
        hidden = self.conv2(F.relu(self.norm2(hidden)))
        return hidden + self.shortcut(active if self._preactivates else x)  # type: ignore[no-any-return]


class Pool(nn.Module):
    """The mean over height and width; a module, so that it has a path by which reports can name it."""

    def forward(self, x: Tensor) -> Tensor:
        """`x`: float `[batch, channel, height, width]`; returns `[batch, channel]`."""
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class Group(nn.Sequential):
    """`blocks_per_group` blocks of one width; the first one takes the stride."""

    def __init__(self, spec: WideResNetSpec, in_channels: int, channels: int, stride: int) -> None:
        blocks: OrderedDict[str, nn.Module] = OrderedDict(block1=Block(spec, in_channels, channels, stride))
        for number in range(2, spec.blocks_per_group + 1):
            blocks[f"block{number}"] = Block(spec, channels, channels, stride=1)
        super().__init__(blocks)


class WideResNet(nn.Module):
    """The network of a specification.

    Its state dict is the table `slots.network_slots`, and PyTorch's `num_batches_tracked` counters, which evaluation
    never reads.
    """

    def __init__(self, spec: WideResNetSpec) -> None:
        super().__init__()
        width0, width1, width2, width3 = spec.widths
        stride1, stride2, stride3 = spec.strides
        self.input = nn.Conv2d(spec.image.channels, width0, 3, padding=1, bias=spec.conv_bias)
        self.group1 = Group(spec, width0, width1, stride1)
        self.group2 = Group(spec, width1, width2, stride2)
        self.group3 = Group(spec, width2, width3, stride3)
        self.norm = nn.BatchNorm2d(width3) if spec.batch_norm else nn.Identity()
        self.pool = Pool()
        self.output = nn.Linear(width3, spec.classes, bias=spec.output_bias)

    def forward(self, image: Tensor) -> Tensor:
        """`image`: float `[batch, channel, height, width]`; returns logits, float `[batch, class]`."""
        x = self.input(image)
        x = self.group3(self.group2(self.group1(x)))
        x = self.pool(F.relu(self.norm(x)))
        return self.output(x)  # type: ignore[no-any-return]


def build_network(spec: WideResNetSpec) -> nn.Module:
    """The main network with PyTorch's own random weights, in evaluation mode."""
    return WideResNet(spec).eval()
