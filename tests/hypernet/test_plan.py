"""The chunk plan is data that any planner can make: what does not fit together is refused with its place."""

import pytest

from hnexport.errors import SpecError
from hnexport.hypernet.joined import joined_bases
from hnexport.hypernet.plan import Assembly, ChunkPlan, InternalHypernet, Piece, check_plan
from hnexport.spec import Slot

ONE = InternalHypernet(name="one", chunks=3, chunk_size=12, embedding_size=2)
SLOT = Slot(name="w", shape=(4, 6))


def piece(chunk: int = 0, offset: int = 0, shape: tuple[int, ...] = (12,), hypernet: str = "one") -> Piece:
    return Piece(hypernet=hypernet, chunk=chunk, offset=offset, shape=shape)


def plan(*pieces: Piece, axis: int | None = None, name: str = "w") -> ChunkPlan:
    return ChunkPlan(hypernets=(ONE,), assembly={name: Assembly(pieces=pieces, axis=axis)})


FITTING = {
    "flat": plan(piece(0), piece(1)),
    "flat, of uneven pieces": plan(piece(0), piece(1, 2, (5,)), piece(2, 0, (7,))),
    "along the first axis": plan(piece(0, 0, (2, 6)), piece(1, 0, (2, 6)), axis=0),
    "along the second axis": plan(piece(0, 0, (4, 3)), piece(2, 0, (4, 3)), axis=1),
    "uneven along an axis": plan(piece(0, 4, (4, 2)), piece(0, 0, (4, 1)), piece(1, 0, (4, 3)), axis=1),
}


@pytest.mark.parametrize("found", FITTING.values(), ids=FITTING.keys())
def test_pieces_that_make_up_the_slot_are_accepted(found: ChunkPlan) -> None:
    check_plan(found, [SLOT])
    assert (found.chunks, found.output_size) == (3, 12)


WRONG = {
    "too few elements": (plan(piece(0)), r"slot 'w' of shape \[4, 6\] cannot be joined flat from pieces \[\[12\]\]"),
    "another shape": (plan(piece(0, 0, (6, 2)), piece(1, 0, (6, 2)), axis=1), r"cannot be joined along axis 1"),
    "ranks that differ": (plan(piece(0, 0, (4, 3)), piece(1), axis=1), r"cannot be joined along axis 1"),
    "no such axis": (plan(piece(0, 0, (4, 3)), piece(1, 0, (4, 3)), axis=2), r"cannot be joined along axis 2"),
    "no such chunk": (plan(piece(3), piece(0)), r"slot 'w' takes chunk 3 of one, which has 3"),
    "a negative chunk": (plan(piece(-1), piece(0)), r"slot 'w' takes chunk -1 of one"),
    "beyond the chunk": (plan(piece(0, 1), piece(1)), r"takes elements 1 to 13 of a chunk of one, which has 12"),
    "before the chunk": (plan(piece(0, -1), piece(1)), r"takes elements -1 to 11"),
    "another hypernetwork": (plan(piece(hypernet="two"), piece(1)), r"'two', which is no internal hypernetwork"),
    "no such slot": (plan(piece(0), piece(1), name="v"), r"the chunk plan assembles 'v', which is no slot"),
}


@pytest.mark.parametrize(("found", "message"), WRONG.values(), ids=WRONG.keys())
def test_pieces_that_do_not_make_up_the_slot_are_refused(found: ChunkPlan, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_plan(found, [SLOT])


def test_a_slot_of_no_pieces_is_refused() -> None:
    with pytest.raises(SpecError, match="at least one piece"):
        Assembly(pieces=())


def layers(**assemblies: Assembly) -> ChunkPlan:
    return ChunkPlan(hypernets=(ONE,), assembly=assemblies)


def test_whole_chunks_in_order_along_the_second_axis_lie_joined() -> None:
    found = joined_bases(
        layers(
            a=Assembly(pieces=(piece(0, 0, (4, 3)), piece(1, 0, (4, 3))), axis=1),
            b=Assembly(pieces=(piece(2, 0, (4, 3)),)),
        )
    )["one"]
    assert (found.layers, found.chunks_per_layer, found.out_channels, found.row) == (("a", "b"), (2, 1), 4, 3)


APART = {
    "nothing is joined": layers(
        a=Assembly(pieces=(piece(0, 0, (4, 3)),)),
        b=Assembly(pieces=(piece(1, 0, (4, 3)),)),
        c=Assembly(pieces=(piece(2, 0, (4, 3)),)),
    ),
    "flat": layers(a=Assembly(pieces=(piece(0), piece(1), piece(2)))),
    "the first axis": layers(a=Assembly(pieces=tuple(piece(n, 0, (4, 3)) for n in range(3)), axis=0)),
    "another order": layers(a=Assembly(pieces=tuple(piece(n, 0, (4, 3)) for n in (1, 0, 2)), axis=1)),
    "a chunk is idle": layers(a=Assembly(pieces=tuple(piece(n, 0, (4, 3)) for n in range(2)), axis=1)),
    "a chunk is used twice": layers(
        a=Assembly(pieces=tuple(piece(n, 0, (4, 3)) for n in range(3)), axis=1),
        b=Assembly(pieces=(piece(0, 0, (4, 3)),)),
    ),
    "part of a chunk": layers(a=Assembly(pieces=tuple(piece(n, 0, (4, 2)) for n in range(3)), axis=1)),
    "two shapes": layers(
        a=Assembly(pieces=tuple(piece(n, 0, (4, 3)) for n in range(2)), axis=1),
        b=Assembly(pieces=(piece(2, 0, (6, 2)),)),
    ),
}


@pytest.mark.parametrize("found", APART.values(), ids=APART.keys())
def test_all_other_chunks_stay_apart(found: ChunkPlan) -> None:
    assert joined_bases(found) == {}
