"""A generator of any network: slots are what the plan says, and an id that does not exist leaves none of a member."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from hnexport.errors import CheckpointError, SpecError
from hnexport.hypernet.bases import round_bases
from hnexport.hypernet.generator import WeightGenerator
from hnexport.hypernet.plan import Assembly, ChunkPlan, InternalHypernet, Piece
from hnexport.hypernet.storage import GeneratorSpec, stored_tensors
from hnexport.spec import BasisDtype, HypernetSpec, Slot, Source, StoredKind
from hnexport.spec.bases import unquantised

SLOTS = (
    Slot(name="flat", shape=(5, 4)),
    Slot(name="rows", shape=(4, 3)),
    Slot(name="columns", shape=(2, 6)),
    Slot(name="bias", shape=(3,)),
    Slot(name="own", shape=(2, 2)),
    Slot(name="table", shape=(3,), dtype="int64", trained=False),
    Slot(name="head", shape=(2,)),
    Slot(name="norm", shape=(2,), trained=False),
)


def pieces(
    hypernet: str, chunks: tuple[int, int] | range | tuple[int], shape: tuple[int, ...], offset: int = 0
) -> tuple[Any, ...]:
    return tuple(Piece(hypernet=hypernet, chunk=chunk, offset=offset, shape=shape) for chunk in chunks)


PLAN = ChunkPlan(
    hypernets=(
        InternalHypernet(name="a", chunks=3, chunk_size=10, embedding_size=2),
        InternalHypernet(name="b", chunks=2, chunk_size=9, embedding_size=3),
        InternalHypernet(name="c", chunks=3, chunk_size=4, embedding_size=2),
    ),
    assembly={
        "flat": Assembly(pieces=pieces("a", (0, 2), (10,))),
        "rows": Assembly(pieces=pieces("b", (1, 0), (2, 3)), axis=0),
        "columns": Assembly(pieces=pieces("c", range(3), (2, 2)), axis=1),
        "bias": Assembly(pieces=pieces("b", (1,), (3,), offset=6)),
    },
)
SPEC = GeneratorSpec(
    name="an ensemble",
    members=3,
    slots=SLOTS,
    sources={
        **dict.fromkeys(PLAN.assembly, Source.GENERATED),
        **dict.fromkeys(("own", "table"), Source.MEMBER),
        **dict.fromkeys(("head", "norm"), Source.SHARED),
    },
    plan=PLAN,
    hypernet=HypernetSpec(hidden_layers=(4,), bias=True),
    guarded=frozenset({"head"}),
)


def tensors(spec: GeneratorSpec = SPEC) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    found = {}
    for stored in unquantised(stored_tensors(spec)):
        dtype = getattr(torch, stored.dtype)
        if dtype.is_floating_point:
            found[stored.name] = torch.randn(stored.shape, generator=random).to(dtype)
        else:
            found[stored.name] = torch.randint(0, 9, stored.shape, generator=random)
    return round_bases(stored_tensors(spec), found)


def naive_basis(held: dict[str, Tensor], hypernet: str) -> Tensor:
    """Element by element where it is stored as integers."""
    basis, scales = held[f"hypernet.{hypernet}.basis"], held.get(f"hypernet.{hypernet}.basis_scales")
    if scales is None:
        return basis.float()
    (rows, groups), chunk = scales.shape, basis.shape[1]
    made = torch.empty(rows, chunk)
    for row in range(rows):
        for place in range(chunk):
            integer = int(basis[row % len(basis), place])
            if basis.dtype is torch.uint8:
                integer = (integer >> 4 if row >= len(basis) else integer & 15) - 8
            made[row, place] = integer * scales[row, place * groups // chunk].float()
    return made


def naive_chunk(held: dict[str, Tensor], hypernet: str, member: int, chunk: int) -> Any:
    hidden = held[f"hypernet.{hypernet}.embedding"][member, chunk]
    hidden = (hidden @ held[f"hypernet.{hypernet}.hidden1.weight"] + held[f"hypernet.{hypernet}.hidden1.bias"]).relu()
    return hidden @ naive_basis(held, hypernet) + held[f"hypernet.{hypernet}.bias"]


@pytest.mark.parametrize("dtype", BasisDtype)
@pytest.mark.parametrize("member", range(3))
def test_every_slot_is_what_the_plan_says(member: int, dtype: BasisDtype) -> None:
    assert SPEC.hypernet is not None
    hypernet = dataclasses.replace(SPEC.hypernet, basis_dtype=dtype)
    spec = dataclasses.replace(SPEC, hypernet=hypernet)
    held = tensors(spec)
    weights = WeightGenerator(spec, held)(torch.tensor(member))

    def chunk(name: str, number: int) -> Any:
        return naive_chunk(held, name, member, number)

    expected = {
        "flat": torch.cat([chunk("a", 0), chunk("a", 2)]).reshape(5, 4),
        "rows": torch.cat([chunk("b", 1)[:6].reshape(2, 3), chunk("b", 0)[:6].reshape(2, 3)], dim=0),
        "columns": torch.cat([chunk("c", number).reshape(2, 2) for number in range(3)], dim=1),
        "bias": chunk("b", 1)[6:],
        "own": held["member.own"][member],
        "table": held["member.table"][member],
        "head": held["shared.head"],
        "norm": held["shared.norm"],
    }
    assert list(weights) == [slot.name for slot in SLOTS]
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("cond_id", [-1, 3, 2**40, -(2**63)])
def test_for_an_id_that_does_not_exist_all_that_depends_on_the_member_or_is_guarded_is_nan(cond_id: int) -> None:
    held = tensors()
    weights = WeightGenerator(SPEC, held)(torch.tensor(cond_id))
    for name in (*PLAN.assembly, "own", "head"):
        assert weights[name].isnan().all(), name
    assert torch.equal(weights["norm"], held["shared.norm"])
    assert weights["table"].dtype is torch.int64


def test_it_stores_what_is_trained_as_parameters_and_the_rest_as_buffers() -> None:
    generator = WeightGenerator(SPEC, tensors())
    buffers = {name for name, _ in generator.named_buffers()}
    assert buffers == {"member.table", "shared.norm"}
    assert {name for name, _ in generator.named_parameters()} | buffers == {s.name for s in stored_tensors(SPEC)}


def test_the_table_is_of_hypernetworks_then_of_slots_in_their_dtypes() -> None:
    stored = stored_tensors(SPEC)
    assert [(item.name, item.dtype, item.shape) for item in stored if item.slot is not None] == [
        ("member.own", "float32", (3, 2, 2)),
        ("member.table", "int64", (3, 3)),
        ("shared.head", "float32", (2,)),
        ("shared.norm", "float32", (2,)),
    ]
    assert [item.hypernet for item in stored[:5]] == ["a"] * 5
    assert [item.kind for item in stored[:5]] == [
        StoredKind.EMBEDDING,
        StoredKind.HIDDEN,
        StoredKind.HIDDEN_BIAS,
        StoredKind.BASIS,
        StoredKind.BASIS_BIAS,
    ]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("member.table", torch.zeros(3, 3), r"expected dtype int64, found torch\.float32"),
        ("member.own", torch.zeros(3, 2, 2, dtype=torch.int64), "expected a floating-point dtype, found torch.int64"),
        ("member.own", torch.zeros(2, 2, 2), r"expected shape \[3, 2, 2\], found \[2, 2, 2\]"),
    ],
)
def test_a_tensor_of_another_shape_or_kind_of_number_is_refused(name: str, tensor: Tensor, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        WeightGenerator(SPEC, tensors() | {name: tensor})


WRONG = {
    "a slot without a source": ({"sources": {}}, "slot 'flat' has no source"),
    "generated without pieces": (
        {"sources": {**SPEC.sources, "own": Source.GENERATED}},
        "slot 'own' is generated, and the chunk plan does not assemble it",
    ),
    "pieces of what is stored": (
        {"sources": {**SPEC.sources, "flat": Source.SHARED}},
        "slot 'flat' is shared, and the chunk plan assembles it",
    ),
    "a guard on what is no shared slot": ({"guarded": frozenset({"own"})}, "slot 'own' is not shared"),
    "a guard on nothing": ({"guarded": frozenset({"nothing"})}, "slot 'nothing' is not shared"),
    "no settings": ({"hypernet": None}, "a plan needs a HypernetSpec"),
    "no members": ({"members": 0}, "members must be at least 1"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_description_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(SPEC, **changes)
