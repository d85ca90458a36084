"""TorchScript and .pt2."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ensembles import of_pipeline
from fixture_types import MakeImages, MakePipeline, MakeSpec
from torch import Tensor, nn
from torch._higher_order_ops import while_loop
from torch.fx.graph_module import GraphModule

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError, ExportError
from hnexport.export import capture, write_pt2, write_torchscript
from hnexport.export.torchscript import scripted
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, PreprocessSpec
from hnexport.programs.tracing import exported
from hnexport.spec import HypernetSpec

CASES: dict[str, dict[str, Any]] = {
    "hypernet": {},
    "batch-ensemble": {"recipe": RECIPES["batch-ensemble"]},
    "hidden layers": {"hypernet": HypernetSpec(hidden_layers=(9,), bias=True)},
    "raw images": {
        "image_layout": ImageLayout.NHWC,
        "preprocess": PreprocessSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25)),
    },
}


def load_torchscript(path: Path) -> Any:
    return torch.jit.load(str(path))


def load_pt2(path: Path) -> GraphModule:
    return torch.export.load(path).module()


FORMATS = {"torchscript": (write_torchscript, load_torchscript), "pt2": (write_pt2, load_pt2)}


@pytest.mark.each_once
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_a_file_computes_what_the_pipeline_computes_bit_for_bit(
    case: str,
    file_format: str,
    make_spec: MakeSpec,
    make_pipeline: MakePipeline,
    make_images: MakeImages,
    tmp_path: Path,
) -> None:
    write, load = FORMATS[file_format]
    pipeline = make_pipeline(make_spec(**CASES[case]))
    write(capture(of_pipeline(pipeline)), tmp_path / "file")
    module = load(tmp_path / "file")
    for batch in (1, 4):
        images = make_images(pipeline.spec, batch)
        for member in range(pipeline.spec.members):
            assert torch.equal(module(torch.tensor(member), images), pipeline(torch.tensor(member), images))
    for cond_id in (-1, pipeline.spec.members, 2**63 - 1):
        assert module(torch.tensor(cond_id), images).isnan().all()


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_folder_that_does_not_exist_is_an_export_error(
    file_format: str, make_spec: MakeSpec, make_pipeline: MakePipeline, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="export of wrn-10-2-hypernet-3 failed"):
        FORMATS[file_format][0](capture(of_pipeline(make_pipeline(make_spec()))), tmp_path / "missing" / "file")


class Masked(nn.Module):
    """Attention over what a second input keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        hidden = self.encoder(self.embed(tokens), src_key_padding_mask=~keep)
        return self.head((hidden * keep[..., None]).sum(1) / keep.sum(1, keepdim=True).clamp(min=1))


def test_a_program_over_two_inputs_takes_a_batch_of_one_and_refuses_unequal_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracer's guards shut out sizes of 1; they are there again when the file is loaded."""
    torch.manual_seed(0)
    inputs = {"tokens": torch.ones(2, 5, dtype=torch.int64), "keep": torch.ones(2, 5, dtype=torch.bool)}
    axes = {name: {0: "batch", 1: "time"} for name in inputs}
    module = Masked().eval()
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)
    write_pt2(
        capture(Ensemble.from_modules([module], example_inputs=inputs, dynamic_axes=axes)), tmp_path / "model.pt2"
    )
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch, steps in ((1, 5), (2, 1), (3, 4)):
        tokens, keep = torch.arange(batch * steps).reshape(batch, steps), torch.ones(batch, steps, dtype=torch.bool)
        torch.testing.assert_close(program(torch.tensor(0), tokens, keep), module(tokens, keep))
    with pytest.raises(AssertionError, match="Guard failed"):
        program(torch.tensor(0), inputs["tokens"], torch.ones(3, 5, dtype=torch.bool))


def test_a_loop_is_refused_by_its_name() -> None:
    class Looping(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            step = while_loop(lambda n, _: n < 3, lambda n, y: (n + 1, y * 2), (torch.tensor(0), x))
            return step[1]

    program = exported(Looping(), (torch.ones(2, 3),), {}, None)
    with pytest.raises(CaptureError, match="TorchScript has no while_loop: build the bundle without"):
        scripted(program)
