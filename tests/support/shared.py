"""What the processes of one test run share: bundles that are built once for all of them."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from filelock import FileLock
from module_ensembles import ENSEMBLES
from schema_checks import check_bundle
from torch import Tensor

from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Manifest, read_identified, read_manifest
from hnexport.ensemble import Ensemble
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.records import to_json

FOLDER_VARIABLE = "HNEXPORT_TESTS_SHARED"  # set by tests/conftest.py for every process of a run


@dataclass(frozen=True, kw_only=True)
class Built:
    """A bundle that nobody may change; tests that damage one take a copy, never a hard link."""

    path: Path

    @functools.cached_property
    def manifest(self) -> Manifest:
        return read_manifest(self.path)

    @functools.cached_property
    def digest(self) -> str:
        return read_identified(self.path).digest


def build_once(checkpoint: Checkpoint, options: BuildOptions | None = None) -> Built:
    """The bundle of a checkpoint, built by whichever process of this run needs it first."""
    options = options or BuildOptions()
    return _built(_key(checkpoint, options), lambda: checkpoint, options)


def built_list(kind: str) -> Built:
    """The bundle of one of `ENSEMBLES`, in every format, built by whichever process of this run needs it first."""
    return built_kind(kind, ENSEMBLES[kind])


class Made(Protocol):
    """Whatever makes an ensemble."""

    def ensemble(self) -> Ensemble: ...


def built_kind(name: str, kind: Made) -> Built:
    """Likewise of another kind, whose name is nobody else's."""
    return _built(name, kind.ensemble, BuildOptions())


def _built(key: str, source: Callable[[], Ensemble | Checkpoint], options: BuildOptions) -> Built:
    folder = Path(os.environ[FOLDER_VARIABLE]) / "bundles"
    folder.mkdir(exist_ok=True)
    target = folder / key / "bundle"
    with FileLock(folder / f"{key}.lock"):
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with pytest.MonkeyPatch.context() as patch:  # who built it is kept in the run's home, whatever a test has
                patch.setenv("XDG_CACHE_HOME", str(Path(os.environ[FOLDER_VARIABLE]) / "home/cache"))
                build(source(), target, options=options)
            check_bundle(target)
    return Built(path=target)


def _key(checkpoint: Checkpoint, options: BuildOptions) -> str:
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    said = [to_json(checkpoint.spec), to_json(checkpoint.usage), checkpoint.origin]
    described = [*said, asked, _digests(checkpoint.tensors)]
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _digests(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    def digest(tensor: Tensor) -> str:
        return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()

    return {name: f"{tensor.dtype} {list(tensor.shape)} {digest(tensor)}" for name, tensor in tensors.items()}
