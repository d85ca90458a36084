"""Recurrent operators that pass a NaN on, as PyTorch's do and onnxruntime's do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.export import capture, write_onnx


class Steps(nn.Module):
    """All steps and the last states, not the last step alone."""

    def __init__(self, kind: type[nn.RNNBase], **options: bool) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True, **options)

    def forward(self, series: Tensor) -> dict[str, Tensor]:
        steps, last = self.rnn(series)
        hidden, cell = last if isinstance(last, tuple) else (last, last)
        return {"steps": steps, "hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}


@pytest.mark.each_once
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both ways"])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM], ids=lambda kind: kind.__name__)
def test_a_nan_spoils_the_steps_that_follow_it_and_no_other(
    kind: Callable[..., Any], bidirectional: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    modules = [Steps(kind, bidirectional=bidirectional).eval() for _ in range(2)]
    ensemble = Ensemble.from_modules(modules, example_inputs=torch.zeros(2, 5, 3))
    write_onnx(capture(ensemble), tmp_path, {})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    series = np.random.default_rng(0).standard_normal((3, 5, 3)).astype(np.float32)
    series[1, 2, 0], series[2, 1, 1] = np.nan, np.inf
    expected = modules[1](torch.from_numpy(series))
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"cond_id": np.array(1), "series": series})
    assert set(names) == set(expected)
    for name, values in zip(names, found, strict=True):
        np.testing.assert_allclose(values, expected[name].detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    assert np.isnan(found[names.index("steps")][1]).any()
