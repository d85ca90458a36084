"""The ONNX files and the `.pt2` of ensembles of every kind, with what PyTorch says in float64: no parity is asked."""

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import KINDS, small_bundle
from ensembles import seeded
from filelock import FileLock
from shared import FOLDER_VARIABLE
from torch import Tensor, nn

from hnexport import Ensemble
from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.export import capture, write_onnx, write_pt2
from hnexport.names import PT2_FILE
from hnexport.spec import Signature

SAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files and what they should say.

    Attributes:
        supplied: what the loader of `network.onnx` supplies.
        inputs: by name `[sample, …]`.
        outputs: by name `[member, sample, …]`, float64 where they are floating-point.
    """

    folder: Path
    signature: Signature
    members: int
    supplied: tuple[str, ...]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class Encoder(nn.Module):
    """Two inputs, two outputs, tied embeddings, layer norm and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.norm, self.width, self.head = nn.LayerNorm(8), nn.Linear(8, 3), nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        x = self.embed(tokens) * weighting[:, None, None]
        shares = (self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5).softmax(-1)
        pooled = self.norm(x + shares @ self.value(x)).mean(1)
        return {"logits": self.head(pooled), "width": self.width(pooled)}


class Bottleneck(nn.Module):
    """Group norm, depthwise and transposed convolutions, PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.slope, self.up = nn.GroupNorm(2, 8), nn.PReLU(8), nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.slope(self.norm(self.depthwise(self.first(x))))).mean((2, 3)))


class Residual(nn.Module):
    """Batch norms, which belong to members."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm1, self.norm2, self.head = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.first(x)).relu()
        return self.head((x + self.norm2(self.second(x))).relu().mean((2, 3)))


class Recurrent(nn.Module):
    """A GRU over a fixed time axis."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.gru(series)[0][:, -1])


def _images() -> dict[str, Tensor]:
    return {"x": torch.randn(SAMPLES, 3, 8, 8)}


def _tokens() -> dict[str, Tensor]:
    return {"tokens": torch.randint(0, 11, (SAMPLES, 5)), "weighting": torch.rand(SAMPLES) + 0.5}


LISTS: dict[str, tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]] = {
    "list of encoders": (Encoder, _tokens),
    "list of CNNs": (Bottleneck, _images),
    "list of ResNets": (Residual, _images),
    "list of GRUs": (Recurrent, lambda: {"series": torch.randn(SAMPLES, 7, 4)}),
}
ALL_KINDS = (*KINDS, *LISTS)


def written(kind: str) -> Written:
    """The files of a kind, made once a run: a Wide ResNet's bundle, or a list of three modules. Not to be changed."""
    if kind in KINDS:
        return _of_bundle(small_bundle(kind))
    folder = Path(os.environ[FOLDER_VARIABLE]) / "written"
    folder.mkdir(exist_ok=True)
    described = folder / f"{kind}.pickle"
    with FileLock(folder / f"{kind}.lock"):
        if not described.exists():
            (folder / kind).mkdir(exist_ok=True)
            described.write_bytes(pickle.dumps(_of_list(kind, folder / kind)))
    found: Written = pickle.loads(described.read_bytes())
    return found


def _of_bundle(bundle: Path) -> Written:
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    assert golden.members.tolist() == list(range(manifest.members))
    return Written(
        folder=bundle,
        signature=manifest.signature,
        members=manifest.members,
        supplied=manifest.onnx.supplied,
        inputs=golden.inputs,
        outputs=golden.outputs,
    )


def _of_list(kind: str, folder: Path) -> Written:
    make, examples = LISTS[kind]
    with torch.random.fork_rng():
        modules = seeded(make, 3)
        torch.manual_seed(7)
        inputs = examples()
    ensemble = Ensemble.from_modules(modules, example_inputs={name: value[:2] for name, value in inputs.items()})
    captured = capture(ensemble)
    files = write_onnx(captured, folder, {})
    write_pt2(captured, folder / PT2_FILE)
    exact, outputs = ensemble.double(), []
    double = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    with torch.no_grad():
        outputs = [exact(member, double) for member in range(ensemble.members)]
    return Written(
        folder=folder,
        signature=ensemble.signature,
        members=ensemble.members,
        supplied=files.supplied,
        inputs={name: value.numpy() for name, value in inputs.items()},
        outputs={name: np.stack([one[name].numpy() for one in outputs]) for name in outputs[0]},
    )
