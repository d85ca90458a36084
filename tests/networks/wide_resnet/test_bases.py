"""Rounding the bases to float16: once, exactly as IEEE says, and refused where it would lose more than that."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fixture_types import MakeSpec, MakeTensors

from hnexport.errors import CaptureError, CheckpointError, SpecError
from hnexport.export import capture
from hnexport.hypernet.bases import LARGEST_ROUNDING, basis_rounding, round_bases
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import RECIPES
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import BasisDtype, HypernetSpec, StoredKind

HALF = HypernetSpec(basis_dtype=BasisDtype.FLOAT16)
BASIS = "hypernet.group3.basis"


@pytest.fixture
def exact(make_spec: MakeSpec, make_tensors: MakeTensors) -> Checkpoint:
    """A checkpoint whose bases are float32."""
    spec = make_spec()
    return Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")


def test_bases_alone_are_rounded_and_take_half_the_bytes(exact: Checkpoint) -> None:
    rounded = exact.with_bases(BasisDtype.FLOAT16)
    assert rounded.spec.hypernet == HALF
    for stored in stored_tensors(rounded.spec):
        before, after = exact.tensors[stored.name], rounded.tensors[stored.name]
        assert str(after.dtype) == f"torch.{stored.dtype}"
        assert after.numel() * after.element_size() == stored.size_bytes
        if stored.kind is StoredKind.BASIS:
            assert torch.equal(after, before.half())
        else:
            assert after is before
    assert 1e-4 < basis_rounding(stored_tensors(rounded.spec), exact.tensors, rounded.tensors) < LARGEST_ROUNDING


def test_rounding_again_or_widening_changes_no_number(exact: Checkpoint) -> None:
    rounded = exact.with_bases(BasisDtype.FLOAT16)
    assert rounded.with_bases(BasisDtype.FLOAT16) is rounded
    wide = rounded.with_bases(BasisDtype.FLOAT32)
    assert wide.spec == exact.spec
    assert torch.equal(wide.tensors[BASIS], rounded.tensors[BASIS].float())
    assert torch.equal(wide.with_bases(BasisDtype.FLOAT16).tensors[BASIS], rounded.tensors[BASIS])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda basis: basis[3, 7].fill_(-70000.0), rf"{BASIS}.*-70000 at \[3, 7\] does not fit float16"),
        (lambda basis: basis.mul_(1e-6), rf"{BASIS}.*too small for float16, which would change it by [1-9]\d*\.\d%"),
        (lambda basis: basis.mul_(1e-12), rf"{BASIS}.*too small for float16, which would change it by 100.0%"),
    ],
    ids=["overflow", "subnormal", "all zero"],
)
def test_a_basis_that_does_not_fit_is_refused_by_name(
    change: Callable[[Any], Any], message: str, exact: Checkpoint
) -> None:
    change(exact.tensors[BASIS])
    with pytest.raises(CheckpointError, match=message):
        exact.with_bases(BasisDtype.FLOAT16)


@pytest.mark.parametrize(
    "change",
    [lambda b: b[0].mul_(1e-9), lambda b: b[3, 7].fill_(65519.0), lambda b: b.zero_()],
    ids=["one tiny row", "largest", "all zero before"],
)
def test_what_rounding_hardly_changes_is_accepted(change: Callable[[Any], Any], exact: Checkpoint) -> None:
    change(exact.tensors[BASIS])
    rounded = exact.with_bases(BasisDtype.FLOAT16)
    assert torch.isfinite(rounded.tensors[BASIS]).all()
    assert basis_rounding(stored_tensors(rounded.spec), exact.tensors, rounded.tensors) <= LARGEST_ROUNDING


def test_a_recipe_without_bases_is_refused(make_spec: MakeSpec, make_tensors: MakeTensors) -> None:
    spec = make_spec(recipe=RECIPES["batch-ensemble"])
    checkpoint = Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test")
    with pytest.raises(SpecError, match="it has no bases to store in float16"):
        checkpoint.with_bases(BasisDtype.FLOAT16)


def test_random_weights_are_those_of_float32_rounded(make_spec: MakeSpec) -> None:
    half, single = initialise(make_spec(hypernet=HALF), 3), initialise(make_spec(), 3)
    assert half[BASIS].dtype is torch.float16
    assert all(torch.equal(half[name], single[name].to(half[name].dtype)) for name in single)


@pytest.mark.parametrize(
    "hypernet", [HALF, HypernetSpec(basis_dtype=BasisDtype.FLOAT16, hidden_layers=(5,), bias=True)], ids=repr
)
def test_weights_are_generated_in_float32_and_the_reference_keeps_the_rounded_numbers(
    hypernet: HypernetSpec, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    """Float16 anywhere in the arithmetic would cost 1e-3; a reference of unrounded bases would be off as much."""
    spec = make_spec(hypernet=hypernet)
    tensors = make_tensors(spec)
    reference = Pipeline(spec, {name: tensor.double() for name, tensor in tensors.items()}).double()
    assert torch.equal(reference.tensors()[BASIS], tensors[BASIS].double())
    for slot, weight in Pipeline(spec, tensors).weights(1).items():
        assert weight.dtype is torch.float32, slot
        expected = reference.weights(1)[slot]
        assert torch.linalg.vector_norm(weight - expected) <= 1e-6 * torch.linalg.vector_norm(expected)


def test_a_checkpoint_or_a_capture_of_another_dtype_than_its_specification_is_refused(
    exact: Checkpoint, make_spec: MakeSpec
) -> None:
    spec = make_spec(hypernet=HALF)
    with pytest.raises(
        CheckpointError, match=r"basis': expected a dense float16 tensor on the CPU, found torch.float32"
    ):
        Checkpoint(spec=spec, tensors=exact.tensors, origin="a test")
    with pytest.raises(CheckpointError, match=r"expected a dense float32 tensor on the CPU, found torch.float16"):
        Checkpoint(spec=exact.spec, tensors=round_bases(stored_tensors(spec), exact.tensors), origin="a test")
    with pytest.raises(CaptureError, match=r"holds generator.hypernet.input.basis in float32, not in float16"):
        _ = capture(wide_resnet_ensemble(spec, exact.tensors, "a test")).joint
