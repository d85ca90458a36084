import math
from collections.abc import Callable
from typing import Any

import pytest

from hnexport.errors import SpecError
from hnexport.hypernet.plan import ChunkPlan, check_plan
from hnexport.networks.wide_resnet.chunking import chunk_parts, plan_chunks
from hnexport.networks.wide_resnet.slots import Role, network_slots
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, Recipe, WideResNetSpec
from hnexport.spec import Chunking, HypernetSpec, Source

ALL_GENERATED = Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)
OUTPUT_ONLY = Recipe(convolution=Source.SHARED, norm=Source.SHARED, output=Source.GENERATED)


def pipeline(network: WideResNetSpec, recipe: Recipe = RECIPES["hypernet"], **hypernet: Any) -> PipelineSpec:
    return PipelineSpec(network=network, members=2, recipe=recipe, hypernet=HypernetSpec(**hypernet))


def plan(network: WideResNetSpec, recipe: Recipe = RECIPES["hypernet"], **hypernet: Any) -> ChunkPlan:
    return plan_chunks(pipeline(network, recipe, **hypernet))


def table(spec: PipelineSpec) -> list[tuple[str, list[tuple[int, ...]], int, int]]:
    """Name, part shapes, embedding size and chunks of each internal hypernetwork."""
    parts = chunk_parts(spec)
    return [
        (hypernet.name, [part.shape for part in parts[hypernet.name]], hypernet.embedding_size, hypernet.chunks)
        for hypernet in plan_chunks(spec).hypernets
    ]


def test_the_reference_model_has_the_published_chunk_table() -> None:
    spec = pipeline(WideResNetSpec.from_name("wrn-28-10"))
    chunks = plan_chunks(spec)
    assert table(spec) == [
        ("input", [(16, 3, 3, 3)], 10, 1),
        ("group1.first", [(160, 16, 3, 3)], 7, 1),
        ("group1.rest", [(160, 160, 3, 3)], 14, 7),
        ("group2", [(320, 160, 3, 3)], 14, 15),
        ("group3", [(640, 320, 3, 3)], 14, 15),
        ("shortcut1", [(160, 16, 1, 1)], 7, 1),
        ("shortcut2", [(320, 160, 1, 1)], 7, 1),
        ("shortcut3", [(640, 320, 1, 1)], 7, 1),
    ]
    assert (len(chunks.hypernets), chunks.chunks, chunks.output_size) == (8, 42, 2_816_432)


def test_gcd_chunking_merges_every_group_by_the_common_divisor() -> None:
    spec = pipeline(WideResNetSpec(blocks_per_group=4, widening=10), chunking=Chunking.GCD)
    assert table(spec)[1:4] == [
        ("group1", [(160, 16, 3, 3)], 14, 1 + 7 * 10),
        ("group2", [(320, 160, 3, 3)], 14, 1 + 7 * 2),
        ("group3", [(640, 320, 3, 3)], 14, 1 + 7 * 2),
    ]


def test_gcd_chunking_needs_no_width_that_divides_the_other() -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1, feature_maps=(6, 9, 21, 10))
    assert table(pipeline(network, chunking=Chunking.GCD))[1:4] == [
        ("group1", [(9, 3, 3, 3)], 14, 2 + 3),
        ("group2", [(21, 3, 3, 3)], 14, 3 + 7),
        ("group3", [(10, 1, 3, 3)], 14, 21 + 10),
    ]


@pytest.mark.parametrize(
    ("widening", "group1"),
    [
        (1, [("group1", (16, 8, 3, 3), 8)]),
        (2, [("group1", (32, 16, 3, 3), 7)]),
        (3, [("group1.first", (48, 16, 3, 3), 1), ("group1.rest", (48, 24, 3, 3), 6)]),
    ],
)
def test_halves_chunking_cuts_what_keeps_its_width_in_two(widening: int, group1: Any) -> None:
    rows = table(pipeline(WideResNetSpec(blocks_per_group=2, widening=widening), chunking=Chunking.HALVES))
    found = [(name, parts[0], chunks) for name, parts, _, chunks in rows if name.startswith("group")]
    width = 16 * widening
    assert found == [*group1, ("group2", (2 * width, width, 3, 3), 7), ("group3", (4 * width, 2 * width, 3, 3), 7)]


def test_halves_chunking_leaves_what_has_an_odd_width_whole() -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1, feature_maps=(4, 5, 5, 10))
    assert table(pipeline(network, chunking=Chunking.HALVES))[2:4] == [
        ("group1.rest", [(5, 5, 3, 3)], 14, 1),
        ("group2.first", [(5, 5, 3, 3)], 7, 1),
    ]


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (
            (16, 16, 32, 64),
            [("group1", (16, 16, 3, 3), 4), ("group2", (32, 16, 3, 3), 7), ("group3", (64, 32, 3, 3), 7)],
        ),
        ((8, 4, 4, 2), [("group1", (4, 4, 3, 3), 5), ("group2", (4, 4, 3, 3), 4), ("group3", (2, 2, 3, 3), 5)]),
    ],
    ids=["k = 1", "narrowing"],
)
def test_widths_in_a_ratio_of_1_or_2_share_one_internal_hypernetwork(
    maps: Any, expected: list[tuple[str, tuple[int, ...], int]]
) -> None:
    rows = table(pipeline(WideResNetSpec(blocks_per_group=2, widening=1, feature_maps=maps)))
    assert [(name, parts[0], chunks) for name, parts, _, chunks in rows if name.startswith("group")] == expected


@pytest.mark.parametrize("maps", [(4, 12, 12, 12), (12, 4, 4, 4), (4, 6, 6, 6)], ids=["3", "1/3", "3/2"])
def test_widths_in_another_ratio_split_the_group_into_first_and_rest(maps: Any) -> None:
    names = [row[0] for row in table(pipeline(WideResNetSpec(blocks_per_group=1, widening=1, feature_maps=maps)))]
    assert names[:3] == ["input", "group1.first", "group1.rest"]


def test_without_a_width_change_the_first_group_has_no_shortcut() -> None:
    names = [row[0] for row in table(pipeline(WideResNetSpec(blocks_per_group=1, widening=1)))]
    assert names == ["input", "group1", "group2", "group3", "shortcut2", "shortcut3"]


def test_a_chunk_holds_kernel_bias_scale_and_shift_in_this_order() -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=2, conv_bias=True)
    spec = pipeline(network, ALL_GENERATED)
    parts, group = chunk_parts(spec), plan_chunks(spec).hypernets[1]
    assert [(part.role, part.shape, part.offset) for part in parts[group.name]] == [
        (Role.KERNEL, (32, 16, 3, 3), 0),
        (Role.CONV_BIAS, (32,), 4608),
        (Role.NORM_SCALE, (32,), 4640),
        (Role.NORM_SHIFT, (32,), 4672),
    ]
    assert group.chunk_size == 4704
    assert [part.role for part in parts["output"]] == [Role.OUTPUT_WEIGHT, Role.OUTPUT_BIAS]


def test_a_recipe_that_generates_only_the_output_layer_has_one_internal_hypernetwork() -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1, output_bias=False)
    assert table(pipeline(network, OUTPUT_ONLY)) == [("output", [(10, 64)], 10, 1)]


def test_a_recipe_that_generates_nothing_has_an_empty_plan() -> None:
    network = WideResNetSpec(blocks_per_group=1, widening=1)
    spec = PipelineSpec(network=network, members=2, recipe=RECIPES["batch-ensemble"], hypernet=None)
    chunks = plan_chunks(spec)
    assert (chunks.hypernets, dict(chunks.assembly), chunks.chunks, chunks.output_size) == ((), {}, 0, 0)


def test_embedding_sizes_are_taken_in_the_order_of_the_internal_hypernetworks() -> None:
    chunks = plan(WideResNetSpec(blocks_per_group=1, widening=1), embedding_sizes=(1, 2, 3, 4, 5, 6))
    assert [hypernet.embedding_size for hypernet in chunks.hypernets] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("count", [0, 5, 7])
def test_another_number_of_embedding_sizes_is_refused_with_the_names(count: int) -> None:
    expected = rf"expected 6 embedding sizes, one for each internal hypernetwork \(input, group1, .*\), found {count}$"
    with pytest.raises(SpecError, match=expected):
        plan(WideResNetSpec(blocks_per_group=1, widening=1), embedding_sizes=(3,) * count)


GRID = [
    (maps, widening, bias, recipe, chunking)
    for maps, widening, bias in (
        ((16, 16, 32, 64), 1, False),
        ((4, 6, 6, 12), 2, True),
        ((6, 9, 21, 10), 1, True),
        ((8, 4, 4, 2), 1, False),
    )
    for recipe in (RECIPES["hypernet"], ALL_GENERATED)
    for chunking in Chunking
]
GRID_IDS = [f"{maps}x{widening}-{recipe.name}-{chunking}" for maps, widening, _, recipe, chunking in GRID]
IN_HYPNETTORCH = [case for case in GRID if case[-1] is not Chunking.HALVES]


@pytest.mark.parametrize(("maps", "widening", "bias", "recipe", "chunking"), GRID, ids=GRID_IDS)
def test_the_pieces_of_every_generated_slot_fill_it_and_no_chunk_is_idle(
    maps: Any, widening: int, bias: bool, recipe: Recipe, chunking: Chunking
) -> None:
    network = WideResNetSpec(blocks_per_group=2, widening=widening, feature_maps=maps, conv_bias=bias)
    chunks = plan(network, recipe, chunking=chunking)
    slots = {slot.name: slot for slot in network_slots(network)}
    served = set()
    check_plan(chunks, slots.values())
    for name, assembly in chunks.assembly.items():
        pieces = assembly.pieces
        slot, shapes = slots[name], [piece.shape for piece in pieces]
        assert sum(math.prod(shape) for shape in shapes) == math.prod(slot.shape)
        assert all(shape[:1] + shape[2:] == slot.shape[:1] + slot.shape[2:] for shape in shapes)
        served |= {(piece.hypernet, piece.chunk) for piece in pieces}
    every = {(hypernet.name, chunk) for hypernet in chunks.hypernets for chunk in range(hypernet.chunks)}
    assert served == every


@pytest.mark.parametrize(("maps", "widening", "bias", "recipe", "chunking"), IN_HYPNETTORCH)
def test_the_chunks_are_those_of_hypnettorch(
    maps: Any,
    widening: int,
    bias: bool,
    recipe: Recipe,
    chunking: Chunking,
    hypnettorch_chunking: Callable[[PipelineSpec], Any],
) -> None:
    network = WideResNetSpec(blocks_per_group=2, widening=widening, feature_maps=maps, conv_bias=bias)
    spec = PipelineSpec(network=network, members=2, recipe=recipe, hypernet=HypernetSpec(chunking=chunking))
    shapes, counts, _ = hypnettorch_chunking(spec)
    chunks = plan_chunks(spec)
    parts = chunk_parts(spec)
    assert [[list(part.shape) for part in parts[hypernet.name]] for hypernet in chunks.hypernets] == [
        [list(shape) for shape in chunk] for chunk in shapes
    ]
    assert [hypernet.chunks for hypernet in chunks.hypernets] == [int(count) for count in counts]
