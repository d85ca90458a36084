"""What a bundle is, in numbers, from its tables alone."""

import dataclasses
from typing import Any

import pytest
from fixture_types import MakeSpec
from shared import Built

from hnexport.bundle.summary import Origin, summarise, summarise_storage
from hnexport.networks.modules import family as modules
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, WideResNetSpec
from hnexport.spec import HypernetSpec, Slot, Source, StoredKind, StoredTensor, stored_as


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("settings", [{}, {"hidden_layers": (3,), "bias": True}], ids=["linear", "hidden"])
def test_counts_from_the_tables_are_those_of_the_chunk_plan(
    make_spec: MakeSpec, recipe: str, settings: dict[str, Any]
) -> None:
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


def test_the_reference_model_has_its_published_counts() -> None:
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-28-10"), members=10)
    assert weight_summary(spec)["container: weights"] == 37_544_732


@dataclasses.dataclass(frozen=True)
class Tables:
    members: int
    slots: tuple[Slot, ...]
    stored: tuple[StoredTensor, ...]


def test_a_list_of_modules_counts_a_tied_tensor_once_and_speaks_of_no_hypernetwork() -> None:
    slots = (
        Slot(name="embed.weight", shape=(7, 4)),
        Slot(name="head.weight", shape=(7, 4), alias_of="embed.weight"),
        Slot(name="norm.mean", shape=(4,), trained=False),
    )
    stored = (
        StoredTensor(name="member.embed.weight", shape=(3, 7, 4), kind=StoredKind.MEMBER, slot="embed.weight"),
        StoredTensor(name="shared.norm.mean", shape=(4,), kind=StoredKind.SHARED, slot="norm.mean", trained=False),
    )
    assert modules.counts(Tables(3, slots, stored)) == {
        "network: weights": 28,
        "stored for all members: weights": 84,
        "stored for all members: weights that they share": 0,
        "stored for all members: weights of single members": 84,
        "stored for all members: ratio to separate networks": 1.0,
        "each further member: weights": 28,
    }


def test_what_the_members_of_a_list_share_is_stored_once_and_costs_less_than_separate_networks() -> None:
    slots = (Slot(name="stem.weight", shape=(7, 4)), Slot(name="head.weight", shape=(2, 4)))
    stored = (stored_as(slots[0], 2, shared=True), stored_as(slots[1], 2, shared=False))
    counts = modules.counts(Tables(2, slots, stored))
    assert counts["stored for all members: weights"] == 28 + 2 * 8
    assert counts["stored for all members: weights that they share"] == 28
    assert counts["stored for all members: ratio to separate networks"] == (28 + 2 * 8) / (2 * 36)
    assert counts["each further member: weights"] == 8


def test_where_a_tied_slot_comes_from_is_where_its_tensor_comes_from(built: Built) -> None:
    first = built.manifest.slots[0]
    twin = Slot(name="twin", shape=first.shape, alias_of=first.name)
    tied = dataclasses.replace(built.manifest, slots=(*built.manifest.slots, twin))
    storage = summarise_storage(tied)
    assert storage.slots["twin"] == storage.slots[first.name] == Source.GENERATED
    assert storage.ties == {"twin": first.name}


def test_the_groups_of_stored_tensors_are_all_that_is_stored(built: Built) -> None:
    storage = summarise(built.manifest).storage
    groups = storage.stored
    assert set(groups) == {str(origin) for origin in Origin}
    assert sum(group.elements for group in groups.values()) == sum(one.size for one in built.manifest.stored)
    assert sum(group.size_bytes for group in groups.values()) == sum(one.size_bytes for one in built.manifest.stored)
    own = groups[str(Origin.MEMBER)]
    assert (own.tensors, set(own.largest)) == (2, {"member.output.weight", "member.output.bias"})
