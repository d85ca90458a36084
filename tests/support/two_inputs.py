"""A bundle of a network with two batched inputs, one without a batch, an open axis, and three outputs, for the runners.

Its files are those of the exporters; manifest and golden samples are written here, so that nothing judges it before.
"""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from hnexport import Ensemble, Logits
from hnexport.bundle.checksums import record_file
from hnexport.bundle.fingerprints import fingerprints
from hnexport.bundle.golden import Golden, write_golden
from hnexport.bundle.manifest import FORMAT_FILES, Format, Manifest, OnnxInfo, read_manifest, write_manifest
from hnexport.export import capture, write_onnx, write_pt2, write_torchscript
from hnexport.names import COND_ID, GOLDEN_FILE
from hnexport.rows import row_errors
from hnexport.spec import TensorSpec

Array = np.ndarray
MEMBERS, SAMPLES, TIME, WORDS, CLASSES = 3, 6, 5, 20, 4
INPUTS = ("tokens", "weighting", "shift")
OUTPUTS = ("scores", "choice", "length")


class Reader(nn.Module):
    """Tokens `[batch, time]`, their weighting, and a shift that is the same for all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 8)
        self.hidden = nn.Linear(8, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, tokens: Tensor, weighting: Tensor, shift: Tensor) -> dict[str, Tensor]:
        pooled = (self.embedding(tokens) * weighting[:, :, None]).mean(1) + shift
        scores = self.head(torch.tanh(self.hidden(pooled)))
        return {"scores": scores, "choice": scores.argmax(1), "length": weighting.sum(1)}


def samples(count: int = SAMPLES, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        "tokens": random.integers(0, WORDS, (count, TIME)),
        "weighting": random.random((count, TIME), dtype=np.float32) + np.float32(0.1),
        "shift": random.standard_normal(8, dtype=np.float32),
    }


@functools.cache
def reader() -> Ensemble:
    made = []
    for seed in range(MEMBERS):
        torch.manual_seed(seed)
        made.append(Reader().eval())
    return Ensemble.from_modules(
        made,
        example_inputs={name: torch.from_numpy(value) for name, value in samples().items()},
        dynamic_axes={"tokens": {0: "batch", 1: "time"}, "weighting": {0: "batch", 1: "time"}, "shift": {}},
        outputs={"scores": Logits(axis=1)},
        name="reader",
    )


def reference(member: int, inputs: Mapping[str, Array], *, double: bool = True) -> dict[str, Array]:
    ensemble, given = reader(), {name: torch.from_numpy(value) for name, value in inputs.items()}
    if double:
        ensemble = ensemble.double()
        given = {name: value.double() if value.is_floating_point() else value for name, value in given.items()}
    with torch.no_grad():
        return {name: value.numpy() for name, value in ensemble(member, given).items()}


@functools.cache
def bundle() -> Path:
    """Not to be changed."""
    folder, ensemble = Path(tempfile.mkdtemp(prefix="hnexport-reader-")), reader()
    captured = capture(ensemble)
    written = write_onnx(captured, folder, {})
    write_torchscript(captured, folder / "model.pt")
    write_pt2(captured, folder / "model.pt2")
    write_golden(folder, golden())
    formats = tuple(Format)
    names = [GOLDEN_FILE, *(name for one in formats for name in FORMAT_FILES[one])]
    write_manifest(
        folder,
        Manifest(
            name=ensemble.name,
            origin=ensemble.origin,
            members=MEMBERS,
            source=ensemble.source,
            inputs=(TensorSpec(name=COND_ID, dtype="int64", shape=()), *ensemble.signature.inputs),
            outputs=ensemble.signature.outputs,
            slots=ensemble.slots,
            stored=ensemble.stored,
            formats=formats,
            onnx=OnnxInfo(opset=written.opset, ir_version=written.ir_version, supplied=written.supplied),
            files={name: record_file(folder / name) for name in names},
            versions={},
        ),
    )
    read_manifest(folder)
    return folder


def golden() -> Golden:
    inputs = samples()
    known = [reference(member, inputs) for member in range(MEMBERS)]
    single = [reference(member, inputs, double=False) for member in range(MEMBERS)]
    outputs = {name: np.stack([one[name] for one in known]) for name in OUTPUTS}
    eager = {
        name: row_errors(np.stack([one[name] for one in single])[..., None], outputs[name][..., None], leading=2)
        for name in ("scores", "length")
    }
    return Golden(
        inputs=inputs,
        kinds=("random",) * SAMPLES,
        members=np.arange(MEMBERS),
        outputs=outputs,
        eager=eager,
        noise={name: np.zeros_like(value) for name, value in eager.items()},
        fingerprints=fingerprints((name, tensor.numpy()) for name, tensor in reader().tensors.items()),
    )


def edit_graph(path: Path, change) -> None:
    """Change an ONNX file without reading its external data."""
    model = onnx.load(path, load_external_data=False)
    change(model.graph)
    path.write_bytes(model.SerializeToString())
