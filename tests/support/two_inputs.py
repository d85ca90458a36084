"""A bundle of a network with two batched inputs, one without a batch, an open axis, and three outputs."""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from shared import build_once
from torch import Tensor, nn

from hnexport import Ensemble, Logits

Array = np.ndarray
MEMBERS, SAMPLES, TIME, WORDS, CLASSES = 3, 6, 5, 20, 4
INPUTS = ("tokens", "weighting", "shift")


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
    """In every format; not to be changed."""
    return build_once(reader()).path


def edit_graph(path: Path, change) -> None:
    """Change an ONNX file without reading its external data."""
    model = onnx.load(path, load_external_data=False)
    change(model.graph)
    path.write_bytes(model.SerializeToString())
