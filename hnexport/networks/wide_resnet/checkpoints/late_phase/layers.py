"""The names in that code's state dicts: layers, and what each member has of them.

A layer is `input_layer`, one of the block `adapter.G` that begins a group or of `conv_block.G.B`, the batch norm at the
end of `conv_block.2`, or `head`. Under its name are, where members have tensors of their own or all have one,
`no_coef_modules.K`, and where its kernel is a sum of templates, `bank.templates` and `coefficients.K`. Until the
members are released, `tied_module` (or `tied_coef`) is what all compute with; it stays in the state dict afterwards.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.conversion import check_dtype

__all__ = ["COEFFICIENTS", "COUNTER", "ROOTS", "Layer", "is_name", "layers_of"]

ROOTS = frozenset({"input_layer", "adapter", "conv_block", "head"})
COEFFICIENTS = "coefficients"
COUNTER = "num_batches_tracked"
_IN_BLOCKS = r"(?:adapter\.\d+|conv_block\.\d+\.\d+)\.(?:bn1|conv1|bn2|conv2|convShortcut)"
_NAME = re.compile(
    rf"(?P<layer>input_layer|head|{_IN_BLOCKS}|conv_block\.\d+\.\d+)\."
    r"(?:no_coef_modules\.(?P<member>\d+)\.(?P<leaf>\w+)|tied_module\.(?P<tied>\w+)|bank\.templates\.(?P<template>\w+)"
    r"|coefficients\.(?P<coefficient>\d+)|(?P<tied_coefficient>tied_coef))"
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer.

    Attributes:
        name: as in the state dict.
        members: what each member has, by leaf (`weight`, `running_mean`, …, `coefficients`); a single one is all
            members'.
        tied: the same of what all members were until they were released; empty where the layer was never tied.
        templates: the bank's, `weight` and `bias`; empty where the layer has none.
    """

    name: str
    members: tuple[Mapping[str, Tensor], ...]
    tied: Mapping[str, Tensor] = field(default_factory=dict)
    templates: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def own(self) -> str:
        """Under which name the members' tensors stand in the state dict, for messages."""
        return f"{self.name}.coefficients" if self.templates else f"{self.name}.no_coef_modules"

    def of(self, member: int) -> Mapping[str, Tensor]:
        """What a member has; the only one where all have the same."""
        return self.members[member if len(self.members) > 1 else 0]


@dataclass(kw_only=True)
class _Found:
    members: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    tied: dict[str, Tensor] = field(default_factory=dict)
    templates: dict[str, Tensor] = field(default_factory=dict)


def is_name(name: str) -> bool:
    """Whether a state dict of that code has tensors of such a name."""
    return _NAME.fullmatch(name) is not None


def layers_of(state: Mapping[str, Any]) -> dict[str, Layer]:
    """The layers of a state dict by their names. Counters of batches, which evaluation never reads, are left out.

    Raises:
        CheckpointError: a tensor belongs to no layer, has a dtype that is no number, or one of a member is missing.
    """
    found: dict[str, _Found] = {}
    for name, tensor in state.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise CheckpointError(f"tensor {name!r} belongs to no layer of a late-phase Wide ResNet")
        if COUNTER in (match["leaf"], match["tied"]):
            continue
        check_dtype(f"tensor {name!r}", tensor)
        layer = found.setdefault(match["layer"], _Found())
        if match["member"] is not None:
            layer.members.setdefault(int(match["member"]), {})[match["leaf"]] = tensor
        elif match["coefficient"] is not None:
            layer.members.setdefault(int(match["coefficient"]), {})[COEFFICIENTS] = tensor
        elif match["template"] is not None:
            layer.templates[match["template"]] = tensor
        else:
            layer.tied[match["tied"] or COEFFICIENTS] = tensor
    return {name: _layer(name, parts) for name, parts in found.items()}


def _layer(name: str, found: _Found) -> Layer:
    members = tuple(found.members[number] for number in sorted(found.members))
    layer = Layer(name=name, members=members, tied=found.tied, templates=found.templates)
    if sorted(found.members) != list(range(len(members))) or not members:
        number = next(number for number in range(len(members) + 1) if number not in found.members)
        raise CheckpointError(f"tensors '{layer.own}.{number}' are missing")
    for number, (own, first) in enumerate(zip(members, members[:1] * len(members), strict=True)):
        _check_alike(f"{layer.own}.{number}", own, first)
    if found.tied:
        _check_alike(f"{name}.tied", found.tied, members[0])
    if bool(found.templates) != (COEFFICIENTS in members[0]):
        what = "has coefficients and no bank" if not found.templates else "has a bank and no coefficients"
        raise CheckpointError(f"layer {name!r} {what}")
    return layer


def _check_alike(where: str, own: Mapping[str, Tensor], first: Mapping[str, Tensor]) -> None:
    for leaf in _missing(first, own):
        raise CheckpointError(f"tensor '{where}.{leaf}' is missing")
    for leaf in _missing(own, first):
        raise CheckpointError(f"tensor '{where}.{leaf}': the first member has none")
    for leaf, tensor in own.items():
        if tensor.shape != first[leaf].shape:
            raise CheckpointError(
                f"tensor '{where}.{leaf}': expected shape {list(first[leaf].shape)}, as the first member's, "
                f"found {list(tensor.shape)}"
            )


def _missing(expected: Iterable[str], found: Iterable[str]) -> list[str]:
    there = set(found)
    return [name for name in expected if name not in there]
