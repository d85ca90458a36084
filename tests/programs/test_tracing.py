"""What every call of `torch.export` shares: warnings that are errors, and attributes that a forward writes."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from hnexport.errors import CaptureError
from hnexport.programs.tracing import dynamic_shapes, exported, exporters_warnings

X = torch.ones(2, 4)


class Counting(nn.Linear):
    """Keeps a plain tensor from one call to the next."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.seen = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + x.mean(0)
        return super().forward(x + self.seen)


def test_a_tracer_warning_is_an_error() -> None:
    with exporters_warnings(), pytest.raises(torch.jit.TracerWarning, match="Iterating over a tensor"):
        torch.jit.trace(lambda x: sum(x), (torch.ones(2),))


def test_an_attribute_that_forward_only_keeps_is_no_fault() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weight norm of this kind is deprecated
        module = nn.utils.weight_norm(nn.Linear(4, 3)).eval()
    program = exported(module, (X,), {}, None)
    assert torch.equal(program.module()(X), module(X))


def test_an_attribute_that_forward_reads_in_the_next_call_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"writes its attribute seen and reads it in the next call: .*without"):
        exported(Counting().eval(), (X,), {}, None)


def test_axes_of_one_name_have_one_dimension() -> None:
    shapes = dynamic_shapes(["x", "y", "z"], {"x": {0: "batch", 1: "time"}, "y": {0: "batch"}})
    assert shapes["x"][0] is shapes["y"][0]
    assert {axis: dim.__name__ for axis, dim in shapes["x"].items()} == {0: "batch", 1: "time"}
    assert shapes["z"] is None
