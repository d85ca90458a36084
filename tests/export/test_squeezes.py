"""A squeeze of an axis that is longer than 1 does nothing, in ONNX too."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from thorough import first
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.export import capture
from hnexport.export.onnx import write_onnx
from hnexport.names import MODEL_FILE


class Squeezed(nn.Module):
    def __init__(self, *axes: Any) -> None:
        super().__init__()
        self.axes, self.scale = axes, nn.Parameter(torch.rand(3))

    def forward(self, x: Tensor) -> Tensor:
        for axis in self.axes:
            x = x.squeeze(axis)
        return x * self.scale


AXES = [(1,), ((1, 2),), (2,), (1, 2), (-1,), ((2, -1),)]


AXES = [(1,), ((1, 2),), (2,), (1, 2), (-1,), ((2, -1),)]


@pytest.mark.parametrize("axes", first(2, map(pytest.param, AXES)), ids=str)
def test_an_axis_that_is_longer_stays(axes: tuple[Any, ...], tmp_path: Path) -> None:
    modules = [Squeezed(*axes).eval() for _ in range(2)]
    ensemble = Ensemble.from_modules(modules, example_inputs={"x": torch.zeros(2, 4, 1, 3)})
    write_onnx(capture(ensemble), tmp_path, {})
    session = onnxruntime.InferenceSession(tmp_path / MODEL_FILE, providers=["CPUExecutionProvider"])
    x = torch.rand(5, 4, 1, 3)
    for member, module in enumerate(modules):
        (found,) = session.run(None, {"cond_id": np.array(member), "x": x.numpy()})
        with torch.no_grad():
            np.testing.assert_array_equal(found, module(x))
