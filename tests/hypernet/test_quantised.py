"""Bases as integers and scales: what is stored, what it stands for, and what rounding to it may cost."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hnexport.errors import CheckpointError, SpecError
from hnexport.hypernet.bases import basis_rounding, plain_bases, round_bases
from hnexport.hypernet.joined import JoinedBasis
from hnexport.hypernet.plan import InternalHypernet
from hnexport.hypernet.quantised import dequantised, quantised
from hnexport.spec import BasisDtype, StoredKind, StoredTensor
from hnexport.spec.bases import basis_dtype, scales_of, stored_basis, unquantised

BITS = {BasisDtype.INT8: 8, BasisDtype.INT4: 4}
NAME = "hypernet.part.basis"


def basis(rows: int = 5, chunk: int = 480) -> StoredTensor:
    return StoredTensor(name=NAME, shape=(rows, chunk), kind=StoredKind.BASIS, hypernet="part")


def numbers(rows: int = 5, chunk: int = 480) -> torch.Tensor:
    return torch.randn((rows, chunk), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("dtype", "share"), [(BasisDtype.INT8, 0.26), (BasisDtype.INT4, 0.14)])
def test_integers_and_scales_take_about_a_quarter_and_a_seventh_of_the_bytes(dtype: BasisDtype, share: float) -> None:
    stored = stored_basis(basis(rows=14, chunk=160 * 1440), dtype, 1440)
    assert sum(item.size_bytes for item in stored) < share * basis(rows=14, chunk=160 * 1440).size_bytes
    assert [item.kind for item in stored] == [StoredKind.BASIS, StoredKind.BASIS_SCALES]
    assert basis_dtype(stored) is dtype
    assert unquantised(stored) == (basis(rows=14, chunk=160 * 1440),)


@pytest.mark.parametrize(
    ("unit", "sizes"),
    [(1440, (288, 40)), (2880, (288, 40)), (144, (144, 36)), (27, (27, 27)), (6007, (6007, 6007)), (82, (82, 82))],
)
def test_groups_divide_a_unit_and_where_none_is_near_the_size_a_unit_is_one(unit: int, sizes: tuple[int, int]) -> None:
    found = []
    for dtype in BITS:
        integers, scales = stored_basis(basis(chunk=4 * unit), dtype, unit)
        found.append(integers.shape[1] // scales.shape[1])
    assert tuple(found) == sizes


@pytest.mark.parametrize("rows", [4, 5, 1])
@pytest.mark.parametrize("dtype", BITS)
def test_what_is_made_of_integers_is_their_product_with_the_scales_exactly_in_float32(
    dtype: BasisDtype, rows: int
) -> None:
    exact = numbers(rows)
    integers, scales = quantised(exact, BITS[dtype], 12)
    assert tuple(integers.shape) == stored_basis(basis(rows), dtype, 40)[0].shape
    found, wide = dequantised(integers, scales), dequantised(integers, scales.double())
    assert (found.dtype, wide.dtype) == (torch.float32, torch.float64)
    assert torch.equal(found.double(), wide)
    whole = wide.reshape(rows, 12, 40) / scales.double().unsqueeze(-1)
    assert torch.equal(whole, whole.round())
    assert (whole.min(), whole.max()) == (-(2 ** (BITS[dtype] - 1)), 2 ** (BITS[dtype] - 1) - 1)
    largest = exact.reshape(rows, 12, 40).abs().amax(2, keepdim=True)
    if dtype is BasisDtype.INT8:
        assert ((found - exact).reshape(rows, 12, 40).abs() <= largest / 127).all()


def test_scales_that_are_tried_lose_less_than_the_largest_number_alone_asks_for() -> None:
    exact = numbers(8, 4800)
    groups = exact.reshape(8, 120, 40)
    plain = groups.abs().amax(2, keepdim=True) / 7
    naive = torch.linalg.vector_norm((groups / plain).round() * plain - groups)
    found = torch.linalg.vector_norm(dequantised(*quantised(exact, 4, 120)) - exact)
    assert found < 0.87 * naive
    assert 0.07 < found / torch.linalg.vector_norm(exact) < 0.09


@pytest.mark.parametrize("dtype", BITS)
def test_rounding_again_changes_nothing_and_other_forms_take_the_rounded_numbers(dtype: BasisDtype) -> None:
    stored, exact = stored_basis(basis(), dtype, 480), {NAME: numbers(), "other": torch.ones(3)}
    rounded = round_bases(stored, exact)
    assert rounded["other"] is exact["other"]
    again = round_bases(stored, rounded)
    assert all(again[name] is rounded[name] for name in rounded)
    wide = round_bases((basis(),), rounded)
    assert torch.equal(wide[NAME], plain_bases(stored, rounded)[NAME])
    assert set(wide) == {NAME, "other"}
    assert basis_rounding((basis(),), rounded, wide) == 0.0
    assert 1e-3 < basis_rounding(stored, exact, rounded) < 0.1


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(
    ("scale", "what"), [(1e-9, "small: their scales are float16, which would change it by"), (1e9, "large")]
)
def test_a_basis_whose_scales_do_not_fit_float16_is_refused_by_name(dtype: BasisDtype, scale: float, what: str) -> None:
    with pytest.raises(CheckpointError, match=f"{NAME}.*too {what}"):
        round_bases(stored_basis(basis(), dtype, 480), {NAME: numbers() * scale})


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("make", [torch.zeros_like, lambda x: x * (torch.arange(x.numel()).view_as(x) % 240 == 7)])
def test_zeros_stay_zero_and_one_number_of_a_group_is_kept(dtype: BasisDtype, make: Callable[..., Any]) -> None:
    exact = make(numbers())
    rounded = round_bases(stored_basis(basis(), dtype, 480), {NAME: exact})
    found = plain_bases(stored_basis(basis(), dtype, 480), rounded)[NAME]
    assert torch.equal(found == 0, exact == 0)
    assert torch.allclose(found, exact, rtol=2**-10)


@pytest.mark.parametrize("dtype", BITS)
def test_integers_and_scales_by_output_channel_make_the_basis_by_output_channel(dtype: BasisDtype) -> None:
    joined = JoinedBasis(
        hypernet=InternalHypernet(name="part", chunks=2, chunk_size=480, embedding_size=5),
        layers=("a",),
        chunks_per_layer=(2,),
        out_channels=4,
    )
    integers, scales = quantised(numbers(), BITS[dtype], 12)
    found = dequantised(joined.by_output_channel(integers), joined.by_output_channel(scales))
    assert torch.equal(found, joined.by_output_channel(dequantised(integers, scales)))


@pytest.mark.parametrize(
    "change",
    [
        lambda integers, scales: (integers,),
        lambda integers, scales: (scales,),
        lambda integers, scales: (integers, dataclasses.replace(scales, dtype="float32")),
        lambda integers, scales: (integers, dataclasses.replace(scales, shape=(5, 7))),
        lambda integers, scales: (integers, dataclasses.replace(scales, shape=(7, 2))),
        lambda integers, scales: (integers, dataclasses.replace(scales, shape=(5, 0))),
        lambda integers, scales: (dataclasses.replace(integers, shape=(4, 480)), scales),
        lambda integers, scales: (integers, dataclasses.replace(scales, hypernet="other")),
    ],
    ids=[
        *("no scales", "no integers", "dtype", "scales too long", "scales too short", "no groups"),
        *("integers too short", "another hypernetwork"),
    ],
)
@pytest.mark.parametrize("dtype", BITS)
def test_integers_and_scales_that_do_not_fit_each_other_are_refused(
    dtype: BasisDtype, change: Callable[[Any, Any], Any]
) -> None:
    with pytest.raises(SpecError, match=r"hypernet.part.basis.*(scales that fit|scales of no basis)"):
        scales_of(change(*stored_basis(basis(), dtype, 240)))


def test_a_scale_is_half_a_step_of_rounding_at_most_in_a_group_of_equal_numbers() -> None:
    exact = torch.full((1, 80), 0.3)
    assert math.isclose(float(dequantised(*quantised(exact, 4, 2))[0, 0]), 0.3, rel_tol=2**-10)
