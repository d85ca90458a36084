"""Bundles of small lists of modules: several inputs and outputs, tied weights, open axes, whole numbers, float64."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from shared import FOLDER_VARIABLE
from torch import Tensor, nn

from hnexport.bundle.checksums import record_file
from hnexport.bundle.golden import Golden, write_golden
from hnexport.bundle.manifest import FORMAT_FILES, Format, Manifest, OnnxInfo, write_manifest
from hnexport.ensemble import Ensemble
from hnexport.export import capture, write_onnx
from hnexport.names import COND_ID, GOLDEN_FILE
from hnexport.rows import row_errors
from hnexport.spec import TensorSpec
from hnexport.spec.kinds import Logits

__all__ = ["LISTS", "list_bundle", "list_ensemble"]

SAMPLES = 3


class Reader(nn.Module):
    """Tokens and their weights to logits, a decoded text over the same embedding, and the most probable class."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.mix, self.classify = nn.Linear(8, 8), nn.Linear(8, 3)
        self.decode = nn.Linear(8, 11, bias=False)
        self.decode.weight = self.embed.weight
        self.register_buffer("order", torch.randperm(8))

    def forward(self, tokens: Tensor, weighting: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.mix(self.embed(tokens)[..., self.order]))
        pooled = (hidden * weighting[..., None]).sum(1) / weighting.sum(1, keepdim=True)
        logits = self.classify(pooled)
        return {"logits": logits, "decoded": self.decode(hidden), "choice": logits.argmax(1)}


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.PReLU(16), nn.Conv2d(16, 16, 3, padding=1)
        )
        self.head = nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.layers(image).mean((2, 3)))


class Pixels(nn.Module):
    """Logits of every pixel: the classes are the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, field: Tensor) -> Tensor:
        return self.conv(field)


class Regressor(nn.Module):
    """In float64, with a setting that all samples share, and one number for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8).double(), nn.Linear(8, 2).double()

    def forward(self, features: Tensor, setting: Tensor) -> tuple[Tensor, Tensor]:
        found = self.last(torch.tanh(self.first(features) * setting))
        return found, setting.square().sum() + self.last.bias.sum()


@dataclass(frozen=True, kw_only=True)
class ModuleList:
    """A kind of modules, and how they are called."""

    make: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator, int], dict[str, Tensor]]
    open_axes: Mapping[str, Mapping[int, str]]
    outputs: Any
    members: int = 3
    shared: tuple[str, ...] = ()


def _tokens(random: torch.Generator, batch: int) -> dict[str, Tensor]:
    return {
        "tokens": torch.randint(0, 11, (batch, 6), generator=random),
        "weighting": torch.rand(batch, 6, generator=random) + 0.1,
    }


LISTS = {
    "reader": ModuleList(
        make=Reader,
        inputs=_tokens,
        open_axes={"tokens": {0: "batch", 1: "time"}, "weighting": {0: "batch", 1: "time"}},
        outputs={"logits": Logits(axis=1), "decoded": Logits(axis=2), "choice": None},
        shared=("classify.bias",),
    ),
    "cnn": ModuleList(
        make=Cnn,
        inputs=lambda random, batch: {"image": torch.randn(batch, 3, 8, 8, generator=random)},
        open_axes={"image": {0: "batch"}},
        outputs={"output": Logits(axis=1)},
        members=4,
    ),
    "pixels": ModuleList(
        make=Pixels,
        inputs=lambda random, batch: {"field": torch.randn(batch, 2, 5, 5, generator=random)},
        open_axes={"field": {0: "batch"}},
        outputs={"output": Logits(axis=1)},
    ),
    "regressor": ModuleList(
        make=Regressor,
        inputs=lambda random, batch: {
            "features": torch.randn(batch, 4, generator=random, dtype=torch.float64),
            "setting": torch.rand(1, generator=random, dtype=torch.float64) + 0.5,
        },
        open_axes={"features": {0: "batch"}, "setting": {}},
        outputs=("mean", "whole"),
        members=2,
    ),
}


def _modules(case: ModuleList) -> Iterable[nn.Module]:
    found = []
    for seed in range(case.members):
        torch.manual_seed(seed)
        found.append(case.make().eval())
        for name in case.shared:
            found[-1].get_parameter(name).data.copy_(found[0].get_parameter(name))
    return found


def list_ensemble(name: str) -> Ensemble:
    """The ensemble of one of `LISTS`."""
    case = LISTS[name]
    return Ensemble.from_modules(
        _modules(case),
        example_inputs=case.inputs(torch.Generator().manual_seed(0), 2),
        dynamic_axes=case.open_axes,
        outputs={key: kind for key, kind in case.outputs.items() if kind} if name != "regressor" else case.outputs,
        name=name,
    )


def list_bundle(name: str) -> Path:
    """The bundle of one of `LISTS`, ONNX alone, made once a run; not to be changed."""
    folder = Path(os.environ[FOLDER_VARIABLE]) / "lists"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        if not (folder / name).exists():
            made = folder / f"{name}-made"
            made.mkdir()
            _write(list_ensemble(name), LISTS[name], made)
            made.rename(folder / name)
    return folder / name


def _write(ensemble: Ensemble, case: ModuleList, folder: Path) -> None:
    """What `hnexport.build` writes of an ensemble, without its verification."""
    written = write_onnx(capture(ensemble), folder, {})
    golden = _golden(ensemble, case)
    write_golden(folder, golden)
    files = {file: record_file(folder / file) for file in (*FORMAT_FILES[Format.ONNX], GOLDEN_FILE)}
    manifest = Manifest(
        name=ensemble.name,
        origin=ensemble.origin,
        members=ensemble.members,
        source=ensemble.source,
        inputs=(TensorSpec(name=COND_ID, dtype="int64", shape=()), *ensemble.signature.inputs),
        outputs=ensemble.signature.outputs,
        slots=ensemble.slots,
        stored=ensemble.stored,
        formats=(Format.ONNX,),
        onnx=OnnxInfo(opset=written.opset, ir_version=written.ir_version, supplied=written.supplied),
        files=files,
        versions={},
    )
    write_manifest(folder, manifest)


def _golden(ensemble: Ensemble, case: ModuleList) -> Golden:
    inputs = case.inputs(torch.Generator().manual_seed(1), SAMPLES)
    exact, doubled = ensemble.double(), {key: _double(value) for key, value in inputs.items()}
    members = range(ensemble.members)
    with torch.no_grad():
        known = [exact(member, doubled) for member in members]
        found = [ensemble(member, inputs) for member in members]
    outputs, eager = {}, {}
    for output in ensemble.signature.outputs:
        outputs[output.name] = np.stack([one[output.name].numpy() for one in known])
        if output.is_floating:
            single = np.stack([one[output.name].numpy() for one in found])
            rows = (ensemble.members, SAMPLES if output.has_batch else 1, -1)
            eager[output.name] = row_errors(single.reshape(rows), outputs[output.name].reshape(rows), leading=2)
    return Golden(
        inputs={key: value.numpy() for key, value in inputs.items()},
        kinds=("random",) * SAMPLES,
        members=np.arange(ensemble.members),
        outputs=outputs,
        eager=eager,
        noise={key: np.zeros_like(value) for key, value in eager.items()},
        fingerprints={stored.name: "0" * 64 for stored in ensemble.stored},
    )


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value
