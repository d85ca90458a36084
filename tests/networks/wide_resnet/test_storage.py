import math
from collections.abc import Callable

import pytest

from hnexport.hypernet.storage import StoredKind, count_weights, stored_tensors
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, Recipe, WideResNetSpec
from hnexport.spec import HypernetSpec, Source

REFERENCE = WideResNetSpec.from_name("wrn-28-10")
HYPERNET = PipelineSpec(network=REFERENCE, members=10)
BATCH_ENSEMBLE = PipelineSpec(network=REFERENCE, members=10, recipe=RECIPES["batch-ensemble"], hypernet=None)


def test_the_reference_hypernet_has_the_published_weight_counts() -> None:
    counts = count_weights(HYPERNET)
    assert (counts.network, counts.generated) == (36_479_194, 36_454_832)
    assert (counts.hypernets, counts.chunks, counts.hypernet_output) == (8, 42, 2_816_432)
    assert (counts.structured_unconditional, counts.structured_conditional) == (37_457_120, 5_560)
    assert (counts.unconditional, counts.conditional) == (37_475_072, 69_660)
    assert (counts.structured, counts.total) == (37_462_680, 37_544_732)
    assert (round(counts.structured_ratio, 2), round(counts.ratio, 2)) == (1.03, 1.03)


def test_the_reference_batch_ensemble_has_the_published_weight_counts() -> None:
    counts = count_weights(BATCH_ENSEMBLE)
    assert (counts.network, counts.generated, counts.structured) == (36_479_194, 0, 0)
    assert (counts.unconditional, counts.conditional, counts.total) == (36_454_832, 243_620, 36_698_452)
    assert round(counts.ratio, 2) == 1.01
    assert math.isnan(counts.structured_ratio)


def test_each_further_member_of_the_reference_hypernet_costs_6966_weights() -> None:
    eleven = count_weights(PipelineSpec(network=REFERENCE, members=11))
    assert eleven.total - count_weights(HYPERNET).total == 6_966
    assert eleven.unconditional == count_weights(HYPERNET).unconditional


def test_the_stored_tensors_of_a_small_pipeline_are_these(make_network: Callable[..., WideResNetSpec]) -> None:
    network = make_network(batch_norm=False, feature_maps=(4, 2, 2, 2))
    hypernet = HypernetSpec(hidden_layers=(6, 5), bias=True, embedding_sizes=(3, 4, 4, 4, 2, 2))
    stored = stored_tensors(PipelineSpec(network=network, members=7, hypernet=hypernet))
    assert [(tensor.name, tensor.shape, str(tensor.kind)) for tensor in stored[:7]] == [
        ("hypernet.input.embedding", (7, 1, 3), "embedding"),
        ("hypernet.input.hidden1.weight", (3, 6), "hidden"),
        ("hypernet.input.hidden1.bias", (6,), "hidden-bias"),
        ("hypernet.input.hidden2.weight", (6, 5), "hidden"),
        ("hypernet.input.hidden2.bias", (5,), "hidden-bias"),
        ("hypernet.input.basis", (5, 4 * 3 * 9), "basis"),
        ("hypernet.input.bias", (4 * 3 * 9,), "basis-bias"),
    ]
    assert [(tensor.name, tensor.shape) for tensor in stored[-2:]] == [
        ("member.output.weight", (7, 5, 4)),
        ("member.output.bias", (7, 5)),
    ]


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
def test_every_slot_is_stored_once_or_generated(
    recipe: Recipe, statistics: bool, make_spec: Callable[..., PipelineSpec]
) -> None:
    spec = make_spec(recipe=recipe, member_statistics=statistics)
    stored = stored_tensors(spec)
    counts = count_weights(spec)
    filled = [tensor.slot.name for tensor in stored if tensor.slot is not None]
    weights = {slot.name for slot in network_slots(spec.network) if slot.is_weight}
    assert len({tensor.name for tensor in stored}) == len(stored)
    assert len(set(filled)) == len(filled)
    assert counts.network - counts.generated == sum(
        math.prod(tensor.slot.shape) for tensor in stored if tensor.slot is not None and tensor.slot.name in weights
    )
    assert counts.total == sum(tensor.size for tensor in stored if tensor.is_weight)
    for tensor in stored:
        assert tensor.is_conditional is (tensor.kind in (StoredKind.EMBEDDING, StoredKind.MEMBER))
        assert not tensor.is_conditional or tensor.shape[0] == spec.members
