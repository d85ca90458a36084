"""Planners: every element of what is generated comes from one element of one chunk, and no two from the same."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hnexport.errors import SpecError
from hnexport.hypernet.joined import joined_bases
from hnexport.hypernet.plan import ChunkPlan, check_plan
from hnexport.networks.recipes.planners import plan_chunks
from hnexport.networks.recipes.recipe import ModuleRecipe, Rule
from hnexport.spec import Slot

SLOTS = (
    Slot(name="a", shape=(6, 8)),
    Slot(name="b", shape=(6, 8)),
    Slot(name="c", shape=(6, 4)),
    Slot(name="d", shape=(5,)),
    Slot(name="e", shape=()),
    Slot(name="f", shape=(4, 6, 3)),
    Slot(name="g", shape=(5,)),
)


def plan(planner: str, slots: tuple[Slot, ...] = SLOTS, **settings: Any) -> ChunkPlan:
    return plan_chunks(ModuleRecipe(rules=(Rule("*", "generated"),), planner=planner, **settings), slots)


def elements(found: ChunkPlan) -> Iterator[tuple[object, object, int]]:
    """Where each element of each slot comes from: `(hypernet, chunk, element)`."""
    for assembly in found.assembly.values():
        for piece in assembly.pieces:
            yield from ((piece.hypernet, piece.chunk, piece.offset + number) for number in range(piece.size))


@pytest.mark.parametrize("chunk_size", [1, 7, 24, 30, 1000])
@pytest.mark.parametrize("planner", ["by-shape", "whole", "flat"])
def test_every_element_has_a_place_of_its_own(planner: str, chunk_size: int) -> None:
    found = plan(planner, chunk_size=chunk_size)
    check_plan(found, SLOTS)
    places = list(elements(found))
    assert len(set(places)) == len(places) == sum(slot.size for slot in SLOTS)
    unused = sum(part.chunks * part.chunk_size for part in found.hypernets) - len(places)
    assert 0 <= unused < (chunk_size if planner == "flat" else 1)


def test_equal_shapes_share_an_internal_hypernetwork_with_a_chunk_each() -> None:
    found = plan("by-shape", embedding_size=3)
    sizes = {part.name: (part.chunks, part.chunk_size, part.embedding_size) for part in found.hypernets}
    assert sizes == {
        "shape_6_8": (2, 48, 3),
        "shape_6_4": (1, 24, 3),
        "shape_5": (2, 5, 3),
        "shape": (1, 1, 3),
        "shape_4_6_3": (1, 72, 3),
    }


def test_a_large_tensor_is_cut_along_its_second_axis_into_the_fewest_equal_parts() -> None:
    found = plan("by-shape", chunk_size=30)
    assert [(p.chunk, p.shape) for p in found.assembly["f"].pieces] == [(n, (4, 2, 3)) for n in range(3)]
    assert [p.chunk for p in found.assembly["b"].pieces] == [2, 3]  # after the two of `a`, before the one of `c`
    assert found.assembly["c"].pieces[0].chunk == 4
    assert set(joined_bases(found)) == {"shape_6_4", "shape_4_2_3"}


def test_no_part_is_thinner_than_one_index_and_one_axis_stays_whole() -> None:
    found = plan("by-shape", chunk_size=1)
    assert len(found.assembly["a"].pieces) == 8
    assert len(found.assembly["d"].pieces) == 1


def test_single_internal_hypernetworks_have_embedding_sizes_of_their_own() -> None:
    found = plan("by-shape", embedding_size=3, embedding_sizes={"shape_6_8": 5, "shape_6_*": 4, "shape": 1})
    sizes = {part.name: part.embedding_size for part in found.hypernets}
    assert sizes == {"shape_6_8": 5, "shape_6_4": 4, "shape_5": 3, "shape": 1, "shape_4_6_3": 3}
    assert plan("flat", embedding_sizes={"*": 2}).hypernets[0].embedding_size == 2


@pytest.mark.parametrize("sizes", [{"shape_6_9": 5}, {"*": 4, "shape_5": 5}], ids=["unknown", "decided before"])
def test_an_embedding_size_that_decides_for_nothing_is_refused(sizes: dict[str, int]) -> None:
    name = list(sizes)[-1]
    with pytest.raises(SpecError, match=f"'{name}' decides for no internal hypernetwork; there are shape_6_8, shape_"):
        plan("by-shape", embedding_sizes=sizes)


def test_whole_is_one_chunk() -> None:
    (part,) = plan("whole").hypernets
    assert (part.name, part.chunks, part.chunk_size) == ("whole", 1, sum(slot.size for slot in SLOTS))


def test_flat_runs_end_to_end_over_chunks_of_one_size() -> None:
    found = plan("flat", chunk_size=50)
    (part,) = found.hypernets
    assert (part.name, part.chunks, part.chunk_size) == ("flat", 5, 50)
    assert [(p.chunk, p.offset, p.shape) for p in found.assembly["b"].pieces] == [(0, 48, (2,)), (1, 0, (46,))]
    assert [(p.chunk, p.offset, p.shape) for p in found.assembly["d"].pieces] == [(2, 20, (5,))]


def test_flat_makes_no_chunk_longer_than_the_network() -> None:
    (part,) = plan("flat").hypernets
    assert (part.chunks, part.chunk_size) == (1, np.sum([slot.size for slot in SLOTS]))


def test_nothing_generated_is_an_empty_plan() -> None:
    assert plan("by-shape", ()).hypernets == ()
