"""What a user shows of inputs and says of outputs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError, RuntimeInputError, SpecError
from hnexport.spec import OutputKind
from hnexport.spec.kinds import Logits

X, Y = torch.ones(3, 4), torch.ones(3, 2)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor | None = None, *, scale: Tensor | float = 2.0) -> dict[str, Tensor]:
        found = self.layer(x) * scale
        return {"logits": found if y is None else found + y, "sizes": x.sum(1)}


def ensemble(example_inputs: Any, **options: Any) -> Ensemble:
    return Ensemble.from_modules([Two().eval(), Two().eval()], example_inputs=example_inputs, **options)


ACCEPTED: dict[str, tuple[Any, list[str]]] = {
    "a tensor": (X, ["x"]),
    "a tuple": ((X, Y), ["x", "y"]),
    "a list": ([X, Y], ["x", "y"]),
    "by name, in another order": ({"y": Y, "x": X}, ["x", "y"]),
    "by name only": ({"scale": torch.tensor(3.0), "x": X}, ["x", "scale"]),
}


@pytest.mark.parametrize(("given", "names"), ACCEPTED.values(), ids=ACCEPTED)
def test_inputs_have_the_names_and_the_order_of_forward(given: Any, names: list[str]) -> None:
    assert [item.name for item in ensemble(given).signature.inputs] == names


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "another name": ({"z": X}, {}, "'z' cannot be given by name: forward names no such parameter"),
    "nothing": ({}, {}, "'x' is missing"),
    "one is missing": ({"y": Y}, {}, "'x' is missing, forward needs it"),
    "too many": ((X, Y, X), {}, "3 given, forward names 2 parameters"),
    "a number": ({"x": X, "scale": 3.0}, {}, "the example input scale is 3.0: only tensors"),
    "an array": (X.numpy(), {}, r"x is of numpy, only tensors can be inputs: torch.as_tensor\(x\)"),
    "another width": (X[:, :3], {}, r"cannot capture member 0: .*; its inputs were x float32 \[batch, 3\]"),
    "bfloat16": (X.bfloat16(), {}, "the example input x is bfloat16"),
    "complex": (X.to(torch.complex64), {}, "the example input x is complex64"),
    "sparse": (X.to_sparse(), {}, "the example input x is torch.sparse_coo"),
    "meta": (X.to("meta"), {}, "the example input x is on the meta device"),
    "an empty batch": (X[:0], {}, "the example input x is empty along the axis batch"),
    "batches of two sizes": ((X, Y[:2]), {}, "disagree about the axis batch: 3 in x, 2 in y"),
    "axes of no input": (X, {"dynamic_axes": {"z": {0: "batch"}}}, "there is no input 'z'"),
    "no such axis": (X, {"dynamic_axes": {"x": {2: "n"}}}, "there is no axis 2"),
    "a batch that is not first": (X, {"dynamic_axes": {"x": {1: "batch"}}}, "the batch must be the first axis"),
    "no name of an axis": (X, {"dynamic_axes": {"x": {0: "a b"}}}, "axis 0 cannot be called 'a b'"),
    "the name of the members' axis": (X, {"dynamic_axes": {"x": {0: "member"}}}, "'member' is taken"),
    "an axis that has one size": (X, {"dynamic_axes": {"x": {0: "batch", 1: "width"}}}, "cannot capture member 0"),
    "no mapping": (X, {"dynamic_axes": {"x": [0]}}, "expected {axis: name}"),
    "no mapping of inputs": (X, {"dynamic_axes": [0]}, r"dynamic_axes: expected {input: {axis: name}}, found \[0\]"),
    "outputs as text": (X, {"outputs": "logits"}, "expected names or {name: kind}"),
    "too few names": (X, {"outputs": ("a",)}, r"the network returns 2 \(logits, sizes\), 1 is named: name them all"),
    "one name of two is wrong": (
        X,
        {"outputs": {"logits": "value", "size": "value"}},
        "returns no 'size', only logits",
    ),
    "a name twice": (X, {"outputs": ("a", "a")}, "a name stands twice"),
    "no kind": (X, {"outputs": {"logits": "logit"}}, r"expected 'value', 'logits' or Logits\(axis=…\)"),
    "no axis of classes": (X, {"outputs": {"logits": Logits(axis=2)}}, "logits need an axis of classes"),
    "the batch as classes": (X, {"outputs": {"logits": Logits(axis=0)}}, "logits need an axis of classes"),
    "a name that summaries have": (
        X,
        {"outputs": {"a": "logits", "probabilities": "value"}},
        "'mean_probabilities', which something else is called too",
    ),
    "no name of a folder": (X, {"name": "a/b"}, "cannot be the name of a folder"),
}


@pytest.mark.parametrize(("given", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((SpecError, CaptureError), match=message):
        ensemble(given, **options)


MISTAKEN: dict[str, tuple[Any, str]] = {
    "a tensor": (X, r"two-2 takes its inputs by name, {'x': …, 'y': …}, found a Tensor"),
    "another name": ({"x": X, "z": Y}, "two-2 takes x, y, found x, z"),
    "one is missing": ({"x": X}, "two-2 takes x, y, found x$"),
    "an array": ({"x": X, "y": Y.numpy()}, r"the input y is of type ndarray, no tensor: give torch.as_tensor\(y\)"),
}


@pytest.mark.parametrize(("given", "message"), MISTAKEN.values(), ids=MISTAKEN)
def test_inputs_of_a_call_that_do_not_fit_are_our_error(given: Any, message: str) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        ensemble((X, Y))(0, given)


def test_forward_must_name_its_parameters() -> None:
    class Unnamed(nn.Module):
        def forward(self, *x: Tensor) -> Tensor:
            return x[0] * 2

    with pytest.raises(SpecError, match=r"forward names 0 parameters; its further ones \(\*\) have no names"):
        Ensemble.from_modules([Unnamed().eval()], example_inputs=X)


def test_axes_are_those_that_were_declared() -> None:
    found = ensemble((X, Y), dynamic_axes={"x": {0: torch.export.Dim("batch")}}).signature
    assert [item.shape for item in found.inputs] == [("batch", 4), ("batch", 2)]
    fixed = ensemble((X, Y), dynamic_axes={"x": {}, "y": {}}).signature
    assert [item.shape for item in (*fixed.inputs, *fixed.outputs)] == [(3, 4), (3, 2), (3, 2), (3,)]


def test_an_output_is_a_value_until_something_else_is_said() -> None:
    assert {output.kind for output in ensemble(X).signature.outputs} == {OutputKind.VALUE}
    logits, sizes = ensemble(X, outputs={"logits": Logits(axis=-1)}).signature.outputs
    assert (logits.kind, logits.axis, sizes.kind) == (OutputKind.LOGITS, 1, OutputKind.VALUE)


def test_outputs_can_be_renamed_in_their_order() -> None:
    found = ensemble(X, outputs={"a": "logits", "b": "value"}).signature.outputs
    assert [(output.name, output.kind.value) for output in found] == [("a", "logits"), ("b", "value")]
    assert [output.name for output in ensemble(X, outputs=["a", "b"]).signature.outputs] == ["a", "b"]


def test_a_gru_with_an_open_time_axis_is_refused_with_what_to_do() -> None:
    class Gru(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True)

        def forward(self, series: Tensor) -> Tensor:
            return self.gru(series)[0]

    with pytest.raises(CaptureError, match="time.*declare that axis as fixed"):
        Ensemble.from_modules(
            [Gru().eval()], example_inputs=torch.ones(2, 5, 3), dynamic_axes={"series": {0: "batch", 1: "time"}}
        )
