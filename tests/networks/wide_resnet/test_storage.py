from collections.abc import Callable

import pytest

from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, Recipe, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import HypernetSpec, Source, StoredKind

REFERENCE = WideResNetSpec.from_name("wrn-28-10")
HYPERNET = PipelineSpec(network=REFERENCE, members=10)
BATCH_ENSEMBLE = PipelineSpec(network=REFERENCE, members=10, recipe=RECIPES["batch-ensemble"], hypernet=None)


def test_the_reference_hypernet_has_the_published_weight_counts() -> None:
    assert weight_summary(HYPERNET) == {
        "main network: weights": 36_479_194,
        "internal hypernetworks": 8,
        "chunks of one member": 42,
        "internal hypernetworks: combined output size": 2_816_432,
        "structured hypernetwork: weights": 37_462_680,
        "structured hypernetwork: unconditional weights": 37_457_120,
        "structured hypernetwork: conditional weights": 5_560,
        "structured hypernetwork: outputs": 36_454_832,
        "structured hypernetwork: compression ratio": pytest.approx(1.03, abs=0.005),
        "container: weights": 37_544_732,
        "container: unconditional weights": 37_475_072,
        "container: conditional weights": 69_660,
        "container: outputs": 36_479_194,
        "container: compression ratio": pytest.approx(1.03, abs=0.005),
        "each further member: weights": 6_966,
    }


def test_the_reference_batch_ensemble_has_the_published_weight_counts() -> None:
    assert weight_summary(BATCH_ENSEMBLE) == {
        "main network: weights": 36_479_194,
        "container: weights": 36_698_452,
        "container: unconditional weights": 36_454_832,
        "container: conditional weights": 243_620,
        "container: outputs": 36_479_194,
        "container: compression ratio": pytest.approx(1.01, abs=0.005),
        "each further member: weights": 24_362,
    }


def test_each_further_member_of_the_reference_hypernet_costs_6966_weights() -> None:
    ten, eleven = weight_summary(HYPERNET), weight_summary(PipelineSpec(network=REFERENCE, members=11))
    assert eleven["container: weights"] - ten["container: weights"] == 6_966
    assert eleven["container: unconditional weights"] == ten["container: unconditional weights"]


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
    counts = weight_summary(spec)
    filled = [tensor.slot for tensor in stored if tensor.slot is not None]
    weights = {slot.name: slot for slot in network_slots(spec.network) if slot.trained}
    assert len({tensor.name for tensor in stored}) == len(stored)
    assert len(set(filled)) == len(filled)
    generated = plan_chunks(spec).assembly
    assert {*filled, *generated} == {slot.name for slot in network_slots(spec.network)}
    assert not set(filled) & set(generated)
    assert counts["main network: weights"] - counts.get("structured hypernetwork: outputs", 0) == sum(
        weights[name].size for name in filled if name in weights
    )
    assert counts["container: weights"] == sum(tensor.size for tensor in stored if tensor.trained)
    for tensor in stored:
        assert tensor.is_conditional is (tensor.kind in (StoredKind.EMBEDDING, StoredKind.MEMBER))
        assert not tensor.is_conditional or tensor.shape[0] == spec.members
