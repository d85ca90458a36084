from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hnexport.networks.wide_resnet.module import build_network
from hnexport.networks.wide_resnet.slots import NetworkSlot, Role, network_slots
from hnexport.networks.wide_resnet.spec import ImageSpec, ShortcutInput, WideResNetSpec

NETWORKS: dict[str, WideResNetSpec] = {
    "wrn-10-1": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(height=16, width=16)),
    "wrn-22-2": WideResNetSpec(blocks_per_group=3, widening=2, image=ImageSpec(height=16, width=16)),
    "convolution bias": WideResNetSpec(
        blocks_per_group=2, widening=2, conv_bias=True, image=ImageSpec(height=16, width=16)
    ),
    "convolution bias only": WideResNetSpec(
        blocks_per_group=1, widening=1, conv_bias=True, output_bias=False, image=ImageSpec(height=8, width=8)
    ),
    "no batch norm": WideResNetSpec(
        blocks_per_group=1, widening=2, batch_norm=False, image=ImageSpec(height=8, width=8)
    ),
    "odd feature maps": WideResNetSpec(
        blocks_per_group=1, widening=3, feature_maps=(5, 7, 9, 2), image=ImageSpec(height=8, width=8)
    ),
    "no width changes": WideResNetSpec(
        blocks_per_group=1, widening=1, feature_maps=(8, 8, 8, 8), image=ImageSpec(height=8, width=8)
    ),
    "one channel": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(channels=1, height=12, width=12)),
    "not square": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(height=12, width=20)),
    "odd height and width": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(height=7, width=5)),
}


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_network_computes_what_hypnettorch_computes(
    spec: WideResNetSpec,
    make_hypnettorch_wrn: Callable[[WideResNetSpec], Any],
    hypnettorch_order: Callable[[WideResNetSpec], tuple[NetworkSlot, ...]],
) -> None:
    weights, images = weights_and_images(spec)
    ours = build_network(spec).double()
    ours.load_state_dict(weights, strict=False)

    theirs = make_hypnettorch_wrn(spec).double()
    statistics = [slot for slot in network_slots(spec) if not slot.trained]
    for layer, mean, variance in zip(theirs.batchnorm_layers or [], statistics[::2], statistics[1::2], strict=True):
        for buffer, slot in zip(layer.get_stats(), (mean, variance), strict=True):
            buffer.copy_(weights[slot.name])
    with torch.no_grad():
        expected = theirs(
            images.permute(0, 2, 3, 1).flatten(1), weights=[weights[slot.name] for slot in hypnettorch_order(spec)]
        )
        torch.testing.assert_close(ours(images), expected, rtol=1e-12, atol=1e-12)
    assert expected.std() > 1e-3


def weights_and_images(spec: WideResNetSpec) -> tuple[dict[str, Tensor], Tensor]:
    """Every slot's tensor and three images, float64 and random."""
    random = torch.Generator().manual_seed(1)
    weights = {
        slot.name: torch.randn(slot.shape, generator=random, dtype=torch.float64) * 0.3
        for slot in network_slots(spec)
        if slot.role is not Role.NORM_VARIANCE
    }
    for slot in network_slots(spec):
        if slot.role is Role.NORM_VARIANCE:
            weights[slot.name] = torch.rand(slot.shape, generator=random, dtype=torch.float64) + 0.5
    return weights, torch.randn(3, *spec.image.shape, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "no width changes"])
def test_a_preactivated_shortcut_takes_what_the_first_convolution_takes(name: str) -> None:
    raw = NETWORKS[name]
    spec = replace(raw, shortcut_input=ShortcutInput.PREACTIVATED)
    weights, images = weights_and_images(spec)
    found = {}
    for each in (raw, spec):
        network = build_network(each).double()
        network.load_state_dict(weights, strict=False)
        with torch.no_grad():
            found[each.shortcut_input] = network(images)
    expected = plain_forward(spec, weights, images)
    torch.testing.assert_close(found[ShortcutInput.PREACTIVATED], expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(found[ShortcutInput.RAW], expected)


def plain_forward(spec: WideResNetSpec, weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """The network with preactivated shortcuts, written anew."""

    def active(name: str, x: Tensor) -> Tensor:
        if spec.batch_norm:
            own = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
            x = F.batch_norm(x, *own)
        return x.clamp(min=0)

    x = F.conv2d(images, weights["input.weight"], weights.get("input.bias"), padding=1)
    for group in (1, 2, 3):
        for block in range(1, spec.blocks_per_group + 1):
            here = f"group{group}.block{block}"
            stride = 2 if group > 1 and block == 1 else 1
            a = active(f"{here}.norm1", x)
            b = F.conv2d(a, weights[f"{here}.conv1.weight"], weights.get(f"{here}.conv1.bias"), stride, padding=1)
            b = active(f"{here}.norm2", b)
            b = F.conv2d(b, weights[f"{here}.conv2.weight"], weights.get(f"{here}.conv2.bias"), padding=1)
            shortcut = weights.get(f"{here}.shortcut.weight")
            x = b + (x if shortcut is None else F.conv2d(a, shortcut, stride=stride))
    features = active("norm", x).mean((2, 3))
    return F.linear(features, weights["output.weight"], weights.get("output.bias"))


def test_without_a_shortcut_convolution_what_it_would_take_makes_no_difference() -> None:
    raw = NETWORKS["no width changes"]
    first = next(iter(build_network(raw).group1))
    again = next(iter(build_network(replace(raw, shortcut_input=ShortcutInput.PREACTIVATED)).group1))
    again.load_state_dict(first.state_dict())
    x = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first(x), again(x))


def test_a_built_network_is_in_evaluation_mode() -> None:
    assert not any(module.training for module in build_network(NETWORKS["wrn-10-1"]).modules())


@pytest.mark.parametrize(("size", "expected"), [((8, 8), (2, 2)), ((7, 5), (2, 2)), ((1, 1), (1, 1))], ids=str)
def test_two_groups_halve_height_and_width_rounding_up(size: tuple[int, int], expected: tuple[int, int]) -> None:
    spec = WideResNetSpec(blocks_per_group=1, widening=1)
    network = build_network(spec)
    shapes = []
    network.get_submodule("group3").register_forward_hook(lambda _m, _i, output: shapes.append(output.shape[2:]))
    network(torch.zeros(1, 3, *size))
    assert [tuple(shape) for shape in shapes] == [expected]
