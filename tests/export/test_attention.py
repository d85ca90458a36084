"""Attention whose mask lets a row see nothing: every format gives what PyTorch gives, and NaN stays NaN."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hnexport import Ensemble
from hnexport.export import capture, write_onnx, write_pt2, write_torchscript


class Attention(nn.Module):
    """With a mask of booleans, with one of numbers, of each row or of all, and with one of its own."""

    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 24)
        self.register_buffer("order", torch.full((5, 5), -torch.inf).triu(1))

    def forward(self, series: Tensor, seen: Tensor) -> dict[str, Tensor]:
        query, key, value = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.inner(series).chunk(3, -1))
        each = seen[:, None, :, None] & seen[:, None, None, :]
        hidden = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[:, None, None, :]
        return {
            "flags": F.scaled_dot_product_attention(query, key, value, seen[:, None, None, :]),
            "flags_of_rows": F.scaled_dot_product_attention(query, key, value, each),
            "numbers": F.scaled_dot_product_attention(query, key, value, hidden, scale=0.3),
            "numbers_of_rows": F.scaled_dot_product_attention(query, key, value, hidden + self.order),
            "causal": F.scaled_dot_product_attention(query, key, value, is_causal=True),
            "all": F.scaled_dot_product_attention(query, key, value),
        }


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    examples = (torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 1, 0], [1, 0, 1, 1, 1]]).bool())
    return Ensemble.from_modules([Attention().eval(), Attention().eval()], example_inputs=examples)


def inputs() -> dict[str, Tensor]:
    """Everything seen, nothing, the last, and all but the first: in order the first row then sees nothing."""
    seen = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 1, 1, 1, 1]]).bool()
    return {"series": torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1)), "seen": seen}


def outputs(ensemble: Ensemble, form: str, folder: Path, given: dict[str, Tensor]) -> dict[str, Tensor]:
    captured, names = capture(ensemble), [output.name for output in ensemble.signature.outputs]
    if form == "onnx":
        write_onnx(captured, folder, {})
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        arrays = {name: tensor.numpy() for name, tensor in given.items()}
        found = session.run(names, {"cond_id": np.array(1), **arrays})
        return dict(zip(names, map(torch.as_tensor, found), strict=True))
    path = folder / "model"
    if form == "pt2":
        write_pt2(captured, path.with_suffix(".pt2"))
        program = torch.export.load(path.with_suffix(".pt2")).module()
    else:
        write_torchscript(captured, path)
        program = torch.jit.load(path)
    with torch.no_grad():
        return dict(zip(names, program(torch.tensor(1), *given.values()), strict=True))


@pytest.mark.parametrize("form", ["onnx", "torchscript", "pt2"])
def test_a_row_that_sees_nothing_is_zero_as_in_pytorch(form: str, ensemble: Ensemble, tmp_path: Path) -> None:
    given = inputs()
    expected = {name: tensor.detach() for name, tensor in ensemble(1, given).items()}
    assert all(not expected[name][1].any() for name in ("flags", "flags_of_rows", "numbers", "numbers_of_rows"))
    found = outputs(ensemble, form, tmp_path, given)
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=1e-5), name


def test_nan_that_a_row_sees_stays(ensemble: Ensemble, tmp_path: Path) -> None:
    given = inputs()
    given["series"][0, 2] = torch.nan
    found = outputs(ensemble, "onnx", tmp_path, given)
    assert all(tensor[0].isnan().any() for tensor in found.values())
