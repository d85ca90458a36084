"""What the members of one fold answer, in every precision: trained, built, calibrated and run, or read."""

import dataclasses
import hashlib
import importlib.util
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.runtime import load
from hnexport.runtime.int8 import FORMAT_VERSION
from study.tasks import Fold, Task

__all__ = ["FLOAT32", "INT8", "KINDS", "Answers", "Settings", "answers", "bundle_of"]

Logits = NDArray[np.float32]

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_digits.py"
FLOAT32, INT8, OPENVINO = "float32", "int8", "int8, OpenVINO"
BASES = {"int8 bases": "int8", "int4 bases": "int4"}
KINDS = (FLOAT32, INT8, OPENVINO, *BASES)
"""Members in float32, members in int8 by both runtimes, and members in float32 of rounded bases."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How ensembles are made.

    Attributes:
        seed: of weights, parts and noise.
        bases: whether bundles with rounded bases are made beside the exact ones.
    """

    members: int
    epochs: int
    seed: int
    bases: bool = True

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those of `KINDS` that are made."""
        able = importlib.util.find_spec("openvino") is not None
        return tuple(one for one in KINDS if (one not in BASES or self.bases) and (one != OPENVINO or able))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What members say of images that they were not trained on.

    Attributes:
        rows: the images' numbers, ascending.
        logits: `[member, row, class]`, by kind.
    """

    rows: NDArray[np.int64]
    logits: Mapping[str, Logits] = field(repr=False)

    def of(self, kind: str, rows: NDArray[np.int64]) -> Logits:
        """Of some of these images."""
        return self.logits[kind][:, np.searchsorted(self.rows, rows)]


def bundle_of(folder: Path, kind: str = FLOAT32) -> Path:
    """The bundle of a fold, in its folder."""
    return folder / (kind if kind in BASES else FLOAT32).replace(" ", "-")


def answers(task: Task, fold: Fold, settings: Settings, folder: Path, said: Callable[[str], None]) -> Answers:
    """The answers of a fold; those that are in its folder, if they are of the same images and settings."""
    path, key = folder / "answers.npz", _key(task, fold, settings)
    if path.exists():
        with np.load(path, allow_pickle=False) as held:
            if str(held["key"]) == key and set(settings.kinds) <= set(held):
                return Answers(rows=held["rows"], logits={kind: held[kind] for kind in settings.kinds})
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.sort(np.concatenate([fold.choose, fold.report]))
    said("training")
    _built(task, fold, settings, folder, said)
    found = {kind: _asked(task.images[rows], folder, kind, said) for kind in settings.kinds}
    part = path.with_name("part.npz")
    arrays: dict[str, Any] = {"key": np.array(key), "rows": rows, **found}
    np.savez(part, **arrays)
    part.replace(path)
    return Answers(rows=rows, logits=found)


def _key(task: Task, fold: Fold, settings: Settings) -> str:
    digest = hashlib.sha256(EXAMPLE.read_bytes())
    for array in (task.images, task.labels, fold.train, fold.choose, fold.report):
        digest.update(np.ascontiguousarray(array).tobytes())
    how = {"members": settings.members, "epochs": settings.epochs, "seed": settings.seed, "int8": FORMAT_VERSION}
    return json.dumps([how, digest.hexdigest()])


def _built(task: Task, fold: Fold, settings: Settings, folder: Path, said: Callable[[str], None]) -> None:
    """The network of examples/train_digits.py and its training; bundles with exact and with rounded bases; int8."""
    import torch

    from hnexport import Pipeline
    from hnexport.build import BuildOptions, build
    from hnexport.bundle.manifest import Format
    from hnexport.spec import BasisDtype
    from hnexport.tune.int8 import quantised

    example = runpy.run_path(str(EXAMPLE))
    images, labels = task.images[fold.train], task.labels[fold.train]
    spec = dataclasses.replace(example["specification"](images), members=settings.members)
    pipeline = Pipeline.from_seed(spec, seed=settings.seed)
    example["train"](pipeline, torch.from_numpy(images), torch.from_numpy(labels), settings.epochs)
    checkpoint = pipeline.checkpoint(origin="examples/train_digits.py")
    for kind in [kind for kind in settings.kinds if kind == FLOAT32 or kind in BASES]:
        said(f"building it with {BASES.get(kind, FLOAT32)} bases")
        bases = BasisDtype(BASES[kind]) if kind in BASES else None
        options = BuildOptions(formats=(Format.ONNX,), force=True, bases=bases)
        build(checkpoint, bundle_of(folder, kind), options=options)
    said("calibrating int8 with images of the training")
    np.savez(folder / "train.npz", image=images, label=labels)
    quantised(bundle_of(folder), folder / "train.npz")


def _asked(images: NDArray[np.uint8], folder: Path, kind: str, said: Callable[[str], None]) -> Logits:
    """The logits of all members, by the runtime."""
    said(f"asking every member, {kind}")
    options: dict[str, Any] = {"precision": "int8"} if kind in (INT8, OPENVINO) else {}
    if kind == OPENVINO:
        options["engine"] = "openvino"
    ensemble = load(bundle_of(folder, kind), provider="cpu", **options)
    return np.asarray(ensemble.predict(images, members="all"), np.float32)
