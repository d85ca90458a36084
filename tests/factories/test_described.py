"""Inputs and outputs as a command line describes them."""

import pytest
import torch

from hnexport.errors import SpecError
from hnexport.factories.described import examples, read_input, read_outputs
from hnexport.spec.kinds import Logits


def test_an_input_has_a_dtype_a_shape_and_axes_of_any_size() -> None:
    inputs = [read_input("image=float32[batch,3,32,32]"), read_input("tokens=int64[batch,time=16]:5..9")]
    given, axes = examples(inputs)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in given.items()} == {
        "image": (torch.float32, (2, 3, 32, 32)),
        "tokens": (torch.int64, (2, 16)),
    }
    assert axes == {"image": {0: "batch"}, "tokens": {0: "batch", 1: "time"}}
    assert (int(given["tokens"].min()), int(given["tokens"].max())) == (5, 9)
    assert torch.equal(examples(inputs)[0]["image"], given["image"])


def test_an_input_may_be_a_table_a_scalar_or_a_mask() -> None:
    given, axes = examples([read_input("table=float64[4,3]"), read_input("t=float32[]"), read_input("m=bool[batch,9]")])
    assert [tuple(tensor.shape) for tensor in given.values()] == [(4, 3), (), (2, 9)]
    assert given["m"].dtype is torch.bool
    assert set(given["m"].unique().tolist()) == {True, False}
    assert axes == {"table": {}, "t": {}, "m": {0: "batch"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image", r"expected NAME=DTYPE\[SIZE,…\]"),
        ("image=float32", "expected NAME=DTYPE"),
        ("image=bfloat16[batch,3]", "there is no dtype bfloat16, only float32"),
        ("image=float32[batch,-3]", "a size is a number, a name, or both as in time=16, found -3"),
        ("image=float32[time=x]", "found time=x"),
        ("image=float32[time=]", "found time="),
        ("image=float32[batch]:0..9", "a range LEAST..MOST is for integers"),
        ("tokens=int64[batch]:9..0", "the smaller number first"),
    ],
)
def test_an_input_that_is_written_otherwise_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_input(text)


def test_an_input_is_described_once() -> None:
    with pytest.raises(SpecError, match="--input x: described twice"):
        examples([read_input("x=float32[batch]"), read_input("x=float32[batch]")])


def test_outputs_have_names_and_kinds() -> None:
    assert read_outputs(()) is None
    assert read_outputs(("mean", "spread=value", "logits=logits", "words=logits:-1")) == {
        "mean": "value",
        "spread": "value",
        "logits": Logits(axis=1),
        "words": Logits(axis=-1),
    }


@pytest.mark.parametrize("texts", [("=logits",), ("x=probabilities",), ("x=logits:one",), ("x", "x"), ("x=value:1",)])
def test_an_output_that_is_written_otherwise_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="expected each once as NAME, NAME=value"):
        read_outputs(texts)
