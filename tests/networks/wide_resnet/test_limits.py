"""What a specification may ask for is counted with arithmetic, before a table is made of it."""

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import pipelines

from hnexport.errors import BundleError
from hnexport.networks.wide_resnet.chunking import count_pieces, plan_chunks
from hnexport.networks.wide_resnet.limits import check_expansion, check_tables
from hnexport.networks.wide_resnet.slots import count_slots, network_slots
from hnexport.networks.wide_resnet.spec import ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import Chunking, HypernetSpec
from hnexport.spec.bounds import MAX_SLOTS

ASKING_TOO_MUCH = MappingProxyType(
    {
        "blocks": ({"blocks_per_group": 200_000}, {}, "6000009 slots"),
        "blocks beyond any memory": ({"blocks_per_group": 2**62}, {}, "slots"),
        "narrow chunks": (
            {"feature_maps": (1, 99_991, 1, 1)},
            {"chunking": Chunking.GCD},
            "chunks",
        ),
        "hidden layers": ({}, {"hidden_layers": (1,) * 10_000}, "hidden layers"),
    }
)


def spec_of(network: dict[str, Any], hypernet: dict[str, Any]) -> PipelineSpec:
    return PipelineSpec(
        network=WideResNetSpec(**{"blocks_per_group": 1, "widening": 1, **network}),
        members=3,
        hypernet=HypernetSpec(**hypernet),
    )


@given(pipelines())
@settings(deadline=None)
def test_slots_are_counted_as_the_table_has_them(spec: PipelineSpec) -> None:
    assert count_slots(spec.network) == len(network_slots(spec.network))


@given(pipelines())
@settings(deadline=None)
def test_pieces_are_never_fewer_than_the_chunks_of_the_plan(spec: PipelineSpec) -> None:
    chunks = plan_chunks(spec).chunks
    assert chunks <= count_pieces(spec) or not count_pieces(spec)
    assert (count_pieces(spec) == 0) == (spec.hypernet is None)
    assert count_pieces(spec) <= chunks + 5 + 6 * spec.network.blocks_per_group * max(spec.network.widths)


@pytest.mark.parametrize("name", ASKING_TOO_MUCH)
def test_a_specification_that_asks_for_more_than_the_limit_is_refused_at_once(name: str) -> None:
    network, hypernet, message = ASKING_TOO_MUCH[name]
    with pytest.raises(BundleError, match=rf"{message}, at most {MAX_SLOTS}"):
        check_tables(spec_of(network, hypernet))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"widening": 1000}, "the main network's weights would take"),
        ({"image": ImageSpec(height=20_000, width=20_000)}, "a layer's output for one image would take"),
        ({"classes": 10**8}, "the main network's weights would take"),
    ],
    ids=["wide", "large images", "classes"],
)
def test_weights_and_activations_stay_in_proportion_to_the_files(network: dict[str, Any], message: str) -> None:
    spec = spec_of(network, {})
    check_tables(spec)
    with pytest.raises(BundleError, match=message):
        check_expansion(spec, 1_500_000)


def test_a_wide_hidden_layer_before_many_chunks_is_refused() -> None:
    spec = spec_of({"blocks_per_group": 500, "feature_maps": (1, 1, 1, 1)}, {"hidden_layers": (10**5,)})
    with pytest.raises(BundleError, match="one member's chunks would take"):
        check_expansion(spec, 1_500_000)


@pytest.mark.parametrize("hidden", [(), (32,), (8, 8)], ids=str)
def test_the_reference_model_passes_with_its_weights_file_alone(hidden: tuple[int, ...]) -> None:
    spec = PipelineSpec(
        network=WideResNetSpec.from_name("wrn-28-10"), members=10, hypernet=HypernetSpec(hidden_layers=hidden)
    )
    check_tables(spec)
    check_expansion(spec, sum(stored.size_bytes for stored in stored_tensors(spec)))


def test_the_limit_of_small_files_and_that_of_large_ones_are_both_kept() -> None:
    spec = spec_of({"widening": 20}, {})  # 30 million weights
    with pytest.raises(BundleError, match="at most 67108864 are allowed for files of 1000 bytes"):
        check_expansion(spec, 1000)
    check_expansion(spec, 10_000_000)
