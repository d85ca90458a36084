import math
from collections.abc import Callable
from typing import Any

import pytest

from hnexport.networks.wide_resnet.module import build_network
from hnexport.networks.wide_resnet.slots import NORM_STATISTICS, Role, network_slots, slot_source
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, Recipe, WideResNetSpec
from hnexport.spec import HypernetSpec, Source

NETWORKS: dict[str, WideResNetSpec] = {
    **{
        f"wrn-{depth}-{widening}": WideResNetSpec.from_name(f"wrn-{depth}-{widening}")
        for depth in (10, 16, 22, 28, 34, 40)
        for widening in (1, 2, 4)
    },
    "reference": WideResNetSpec.from_name("wrn-28-10"),
    "convolution bias": WideResNetSpec(blocks_per_group=2, widening=2, conv_bias=True),
    "no output bias": WideResNetSpec(blocks_per_group=1, widening=2, output_bias=False),
    "no batch norm": WideResNetSpec(blocks_per_group=2, widening=3, batch_norm=False, conv_bias=True),
    "odd feature maps": WideResNetSpec(blocks_per_group=1, widening=3, feature_maps=(5, 7, 9, 2)),
    "no width changes": WideResNetSpec(blocks_per_group=2, widening=1, feature_maps=(8, 8, 8, 8)),
    "one channel": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(channels=1, height=28, width=28)),
    "not square": WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(height=20, width=48)),
    "100 classes": WideResNetSpec(blocks_per_group=1, widening=1, classes=100),
}


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_slots_are_the_state_dict_of_the_network(spec: WideResNetSpec) -> None:
    state = {
        name: tuple(tensor.shape)
        for name, tensor in build_network(spec).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    slots = network_slots(spec)
    assert {slot.name: slot.shape for slot in slots} == state
    assert len(slots) == len(state)


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_weights_are_the_parameters_and_statistics_the_buffers(spec: WideResNetSpec) -> None:
    parameters = {name for name, _ in build_network(spec).named_parameters()}
    assert {slot.name for slot in network_slots(spec) if slot.trained} == parameters


@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_norm_has_the_number_of_the_convolution_that_it_normalises(spec: WideResNetSpec) -> None:
    outputs = {slot.layer: slot.shape[0] for slot in network_slots(spec) if slot.role is Role.KERNEL}
    norms = [slot for slot in network_slots(spec) if slot.role is Role.NORM_SCALE]
    assert sorted(outputs) == list(range(6 * spec.blocks_per_group + 1))
    assert [slot.layer for slot in norms] == (sorted(outputs) if spec.batch_norm else [])
    assert all(slot.shape == (outputs[slot.layer],) for slot in norms)


def test_the_reference_model_has_36479194_weights() -> None:
    slots = network_slots(NETWORKS["reference"])
    assert sum(math.prod(slot.shape) for slot in slots if slot.trained) == 36_479_194


def test_slots_come_in_the_order_in_which_an_image_meets_them() -> None:
    spec = WideResNetSpec(blocks_per_group=1, widening=2, batch_norm=False, conv_bias=True)
    blocks = [
        f"group{group}.block1.{tensor}"
        for group in (1, 2, 3)
        for tensor in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "shortcut.weight")
    ]
    names = [slot.name for slot in network_slots(spec)]
    assert names == ["input.weight", "input.bias", *blocks, "output.weight", "output.bias"]


@pytest.mark.parametrize(
    ("widening", "maps", "shortcuts"),
    [
        (1, (16, 16, 32, 64), {2, 3}),
        (2, (16, 16, 32, 64), {1, 2, 3}),
        (1, (8, 8, 8, 8), {2, 3}),
        (2, (8, 4, 4, 4), {2, 3}),
    ],
    ids=["k = 1", "k = 2", "one width", "group 1 as wide as the input"],
)
def test_a_group_has_a_shortcut_where_its_width_or_resolution_changes(
    widening: int, maps: Any, shortcuts: set[int]
) -> None:
    spec = WideResNetSpec(blocks_per_group=2, widening=widening, feature_maps=maps)
    assert {slot.group for slot in network_slots(spec) if slot.role is Role.SHORTCUT} == shortcuts


@pytest.mark.parametrize("statistics", [False, True], ids=["shared statistics", "member statistics"])
@pytest.mark.parametrize(
    "recipe",
    [
        *RECIPES.values(),
        Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.SHARED),
        Recipe(convolution=Source.MEMBER, norm=Source.SHARED, output=Source.GENERATED),
    ],
    ids=lambda recipe: recipe.name,
)
def test_every_slot_comes_from_where_the_recipe_says(
    recipe: Recipe, statistics: bool, make_network: Callable[..., WideResNetSpec]
) -> None:
    spec = PipelineSpec(
        network=make_network(conv_bias=True),
        members=2,
        recipe=recipe,
        hypernet=HypernetSpec() if Source.GENERATED in recipe.sources else None,
        member_statistics=statistics,
    )
    expected = {
        **dict.fromkeys((Role.KERNEL, Role.CONV_BIAS, Role.SHORTCUT), recipe.convolution),
        **dict.fromkeys((Role.NORM_SCALE, Role.NORM_SHIFT), recipe.norm),
        **dict.fromkeys((Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS), recipe.output),
        **dict.fromkeys(NORM_STATISTICS, Source.MEMBER if statistics else Source.SHARED),
    }
    found = {slot.role: slot_source(spec, slot) for slot in network_slots(spec.network)}
    assert found == expected
