"""What a bundle is, in numbers, from its tables alone."""

import dataclasses

import pytest

from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, WideResNetSpec
from hnexport.spec import HypernetSpec, Slot, Source, StoredKind, StoredTensor
from hnexport.spec.counts import weight_counts
from hnexport.summary import Origin, summarise, summarise_storage


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("settings", [{}, {"hidden_layers": (3,), "bias": True}], ids=["linear", "hidden"])
def test_counts_from_the_tables_are_those_of_the_chunk_plan(make_spec, recipe, settings):
    hypernet = HypernetSpec(**settings) if Source.GENERATED in RECIPES[recipe].sources else None
    spec = make_spec(recipe=RECIPES[recipe], hypernet=hypernet)
    found, plan = weight_summary(spec), plan_chunks(spec)
    slots = {slot.name: slot for slot in network_slots(spec.network)}
    assert found["main network: weights"] == sum(slot.size for slot in slots.values() if slot.trained)
    if hypernet is None:
        assert "internal hypernetworks" not in found
        return
    assert found["internal hypernetworks"] == len(plan.hypernets)
    assert found["chunks of one member"] == plan.chunks
    assert found["internal hypernetworks: combined output size"] == plan.output_size
    generated = sum(slots[name].size for name in plan.assembly)
    assert found["structured hypernetwork: outputs"] == generated
    assert found["structured hypernetwork: compression ratio"] == found["structured hypernetwork: weights"] / generated


def test_the_reference_model_has_its_published_counts():
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=10)
    assert weight_summary(spec)["container: weights"] == 37_544_732


def test_of_a_list_of_modules_a_tied_tensor_counts_once():
    slots = (
        Slot(name="embed.weight", shape=(7, 4)),
        Slot(name="head.weight", shape=(7, 4), alias_of="embed.weight"),
        Slot(name="norm.mean", shape=(4,), trained=False),
    )
    stored = (
        StoredTensor(name="member.embed.weight", shape=(3, 7, 4), kind=StoredKind.MEMBER, slot="embed.weight"),
        StoredTensor(name="shared.norm.mean", shape=(4,), kind=StoredKind.SHARED, slot="norm.mean", trained=False),
    )
    counts = weight_counts(slots, stored, 3)
    assert counts == {
        "main network: weights": 28,
        "container: weights": 84,
        "container: unconditional weights": 0,
        "container: conditional weights": 84,
        "container: outputs": 28,
        "container: compression ratio": 3.0,
        "each further member: weights": 28,
    }


def test_where_a_tied_slot_comes_from_is_where_its_tensor_comes_from(built):
    first = built.manifest.slots[0]
    twin = Slot(name="twin", shape=first.shape, alias_of=first.name)
    tied = dataclasses.replace(built.manifest, slots=(*built.manifest.slots, twin))
    storage = summarise_storage(tied)
    assert storage.slots["twin"] == storage.slots[first.name] == Source.GENERATED
    assert storage.ties == {"twin": first.name}


def test_the_groups_of_stored_tensors_are_all_that_is_stored(built):
    storage = summarise(built.manifest).storage
    groups = storage.stored
    assert set(groups) == {str(origin) for origin in Origin}
    assert sum(group.elements for group in groups.values()) == sum(one.size for one in built.manifest.stored)
    assert sum(group.size_bytes for group in groups.values()) == sum(one.size_bytes for one in built.manifest.stored)
    own = groups[str(Origin.MEMBER)]
    assert (own.tensors, set(own.largest)) == (2, {"member.output.weight", "member.output.bias"})
