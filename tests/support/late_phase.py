"""A late-phase Wide ResNet written from its description: state dicts with random numbers, and what they compute.

The network has `input_layer`, the blocks `adapter.0` to `adapter.2` that begin a group, `conv_block.G.B` after them, a
last batch norm at the end of `conv_block.2`, and `head`. A block is `conv2(relu(bn2(conv1(a)))) + shortcut`, where `a`
is `relu(bn1(x))` and the shortcut is `convShortcut(a)` where the width changes, else `x`. Each layer has
`no_coef_modules.K`, one for each member or a single one, or a bank of templates with coefficients. Everything is
computed in float64.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PUBLISHED", "LatePhase"]

PUBLISHED = frozenset({"input_layer", "adapter", "conv_block"})
"""The parts that all members share in the published configurations: they have norms and output layers of their own."""


@dataclass(frozen=True, kw_only=True)
class LatePhase:
    """A configuration of that code.

    Attributes:
        shared: the parts that all members share.
        banks: the parts whose kernels are sums of templates.
    """

    depth: int
    width: int
    members: int = 3
    classes: int = 10
    channels: int = 3
    shared: frozenset[str] = PUBLISHED
    banks: frozenset[str] = frozenset()

    @property
    def blocks(self) -> int:
        """Of each group."""
        return (self.depth - 4) // 6

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Of the input layer and of the groups."""
        return (16, 16 * self.width, 32 * self.width, 64 * self.width)

    def names(self) -> Iterator[tuple[str, str, int, int]]:
        """Each block: its name, the part that it belongs to, its input channels and its output channels."""
        for group in range(3):
            before, width = self.widths[group : group + 2]
            yield f"adapter.{group}", "adapter", before, width
            for block in range(self.blocks - 1):
                yield f"conv_block.{group}.{block}", "conv_block", width, width

    @property
    def last_norm(self) -> str:
        """The name of the batch norm before the pooling."""
        return f"conv_block.2.{self.blocks - 1}"

    def state_dict(self, seed: int = 0, *, tied: bool = False) -> dict[str, Tensor]:
        """Random weights and statistics, float32, with counters.

        Args:
            tied: with `tied_module` and `tied_coef`, as they stay there when the members are released.
        """
        drawn = _Drawn(case=self, random=torch.Generator().manual_seed(seed), state={}, tied=tied)
        few, many = 2 * self.blocks - 1, 10
        drawn.kernel("input_layer", "input_layer", (16, self.channels, 3, 3), templates=many, split=1)
        for name, part, before, width in self.names():
            ratio = width // before
            split = 2 if ratio == 1 else 1
            drawn.norm(f"{name}.bn1", before)
            drawn.kernel(f"{name}.conv1", part, (width, before, 3, 3), few if ratio > 2 else 2 * few, split)
            drawn.norm(f"{name}.bn2", width)
            drawn.kernel(f"{name}.conv2", part, (width, width, 3, 3), 2 * few, 2)
            if before != width:
                drawn.kernel(f"{name}.convShortcut", part, (width, before, 1, 1), few, 1)
        drawn.norm(self.last_norm, self.widths[3])
        drawn.head(self.classes, self.widths[3], templates=many)
        return drawn.state

    def logits(self, state: Mapping[str, Tensor], member: int, images: Tensor, *, average: bool = False) -> Tensor:
        """Logits `[batch, class]` of one member, or with every layer's output averaged over all members."""
        run = _Run(state={name: tensor.double() for name, tensor in state.items()}, member=member, average=average)
        x = run.convolution("input_layer", images.double(), stride=1)
        for name, part, before, width in self.names():
            stride = 2 if part == "adapter" and not name.endswith("0") else 1
            a = run.norm(f"{name}.bn1", x).relu()
            b = run.norm(f"{name}.bn2", run.convolution(f"{name}.conv1", a, stride)).relu()
            shortcut = x if before == width else run.convolution(f"{name}.convShortcut", a, stride)
            x = run.convolution(f"{name}.conv2", b, stride=1) + shortcut
        return run.head(run.norm(self.last_norm, x).relu().mean((2, 3)))


@dataclass(kw_only=True)
class _Drawn:
    case: LatePhase
    random: torch.Generator
    state: dict[str, Tensor]
    tied: bool
    banks: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def kernel(self, name: str, part: str, shape: tuple[int, int, int, int], templates: int, split: int) -> None:
        out, channels, *size = shape
        std = (2 / (channels * size[0] * size[1])) ** 0.5
        if part in self.case.banks:
            key = f"{out}-{channels // split}-{size}"
            self._bank(name, part, key, ((out, *size, channels // split), (out,)), templates, split, std)
            return
        for where in self._places(name, part):
            self.state[f"{where}.weight"] = self._normal(shape, std)

    def head(self, classes: int, features: int, templates: int) -> None:
        if "head" in self.case.banks:
            self._bank("head", "head", "head", ((classes, features), (classes,)), templates, 1, features**-0.5)
            return
        for where in self._places("head", "head"):
            self.state[f"{where}.weight"] = self._normal((classes, features), features**-0.5)
            self.state[f"{where}.bias"] = self._normal((classes,), 0.3)

    def norm(self, name: str, maps: int) -> None:
        for where in self._places(name, "batchnorm"):
            self.state[f"{where}.weight"] = 1 + self._normal((maps,), 0.3)
            self.state[f"{where}.bias"] = self._normal((maps,), 0.3)
            self.state[f"{where}.running_mean"] = self._normal((maps,), 0.3)
            self.state[f"{where}.running_var"] = 0.5 + torch.rand((maps,), generator=self.random)
            self.state[f"{where}.num_batches_tracked"] = torch.tensor(300)

    def _bank(
        self,
        name: str,
        part: str,
        key: str,
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        templates: int,
        split: int,
        std: float,
    ) -> None:
        """Coefficients of each member, and the bank that all layers of one shape have, each under its own name."""
        for leaf, shape in zip(("weight", "bias"), shapes, strict=True):
            if (key, leaf) not in self.banks:
                self.banks[key, leaf] = self._normal((*shape, templates), std)
            self.state[f"{name}.bank.templates.{leaf}"] = self.banks[key, leaf]
        for number in range(self._count(part)):
            own = self._normal((templates, split), templates**-0.5)
            self.state[f"{name}.coefficients.{number}"] = own
        if self.tied and part not in self.case.shared:
            self.state[f"{name}.tied_coef"] = self._normal((templates, split), templates**-0.5)

    def _places(self, name: str, part: str) -> list[str]:
        tied = [f"{name}.tied_module"] if self.tied and part not in self.case.shared else []
        return [*(f"{name}.no_coef_modules.{number}" for number in range(self._count(part))), *tied]

    def _count(self, part: str) -> int:
        return 1 if part in self.case.shared else self.case.members

    def _normal(self, shape: tuple[int, ...], std: float) -> Tensor:
        return torch.randn(shape, generator=self.random) * std


@dataclass(kw_only=True)
class _Run:
    state: Mapping[str, Tensor]
    member: int
    average: bool

    def convolution(self, name: str, x: Tensor, stride: int) -> Tensor:
        if f"{name}.coefficients.0" in self.state:
            bank, coefficients = self.state[f"{name}.bank.templates.weight"], self._coefficients(name)
            out, height, width, part, _ = bank.shape
            split = coefficients.shape[1]
            kernel = bank.new_zeros(out, part * split, height, width)
            for chunk in range(split):
                kernel[:, chunk::split] = (bank @ coefficients[:, chunk]).permute(0, 3, 1, 2)
            return F.conv2d(x, kernel, stride=stride, padding=height // 2)
        outputs = [
            F.conv2d(
                x, self.state[f"{where}.weight"], stride=stride, padding=self.state[f"{where}.weight"].shape[2] // 2
            )
            for where in self._where(name)
        ]
        return torch.stack(outputs).mean(0)

    def norm(self, name: str, x: Tensor) -> Tensor:
        outputs = []
        for where in self._where(name):
            mean, variance, scale, shift = (
                self.state[f"{where}.{leaf}"][:, None, None]
                for leaf in ("running_mean", "running_var", "weight", "bias")
            )
            outputs.append((x - mean) / (variance + 1e-5).sqrt() * scale + shift)
        return torch.stack(outputs).mean(0)

    def head(self, x: Tensor) -> Tensor:
        if "head.coefficients.0" in self.state:
            own = self._coefficients("head")[:, 0]
            bank = (self.state["head.bank.templates.weight"] @ own, self.state["head.bank.templates.bias"] @ own)
            return F.linear(x, *bank)
        outputs = [F.linear(x, self.state[f"{one}.weight"], self.state[f"{one}.bias"]) for one in self._where("head")]
        return torch.stack(outputs).mean(0)

    def _where(self, name: str) -> list[str]:
        """The modules whose outputs are averaged: one, unless all members' are."""
        every = sorted({key.rpartition(".")[0] for key in self.state if key.startswith(f"{name}.no_coef_modules.")})
        return every if self.average else [every[self.member if len(every) > 1 else 0]]

    def _coefficients(self, name: str) -> Tensor:
        every = [self.state[key] for key in sorted(self.state) if key.startswith(f"{name}.coefficients.")]
        return torch.stack(every).mean(0) if self.average else every[self.member if len(every) > 1 else 0]
