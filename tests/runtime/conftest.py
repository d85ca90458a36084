"""Bundles of a tiny network: one for each way of generating weights and of taking images."""

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fixture_types import AskedSessions, BuiltOnce, MakeSpec, MakeTensors
from numpy.typing import NDArray
from shared import build_once

from hnexport.build import BuildOptions
from hnexport.bundle import Format
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, PreprocessSpec
from hnexport.runtime import LoadedEnsemble, device, load, obstacles, providers
from hnexport.spec import BasisDtype, HypernetSpec

MEMBERS = 10
SPECS: dict[str, dict[str, Any]] = {
    "hypernet": {},
    "batch-ensemble": {"recipe": RECIPES["batch-ensemble"]},
    "uint8": {
        "image_layout": ImageLayout.NHWC,
        "preprocess": PreprocessSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3)),
    },
    "one-member": {"members": 1},
    "float16-bases": {"hypernet": HypernetSpec(basis_dtype=BasisDtype.FLOAT16)},
}


@pytest.fixture(scope="session")
def built_once(make_spec: MakeSpec, make_tensors: MakeTensors) -> BuiltOnce:
    """The bundle of one of `SPECS`; not to be changed."""

    @functools.cache
    def get(name: str = "hypernet") -> Path:
        spec = make_spec(**{"members": MEMBERS, **SPECS[name]})
        options = BuildOptions(formats=(Format.ONNX,), members=tuple(sorted({0, spec.members - 1})))
        return build_once(Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"), options).path

    return get


@pytest.fixture(scope="session")
def shared_bundle(built_once: BuiltOnce) -> Path:
    """The `hypernet` bundle; not to be changed."""
    return built_once()


@pytest.fixture
def own_bundle(shared_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the `hypernet` bundle that a test may damage."""
    return Path(shutil.copytree(shared_bundle, tmp_path / "bundle"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def ensemble(shared_bundle: Path) -> LoadedEnsemble:
    return load(shared_bundle, provider="cpu", check="none")


@pytest.fixture(scope="session")
def images() -> NDArray[np.float32]:
    """float32 [4, 3, 8, 8]."""
    return np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> AskedSessions:
    """Real sessions on the CPU that say they run on CUDA; gives the options each was asked for, by file."""
    asked: AskedSessions = []
    create = providers._create

    def pretend(
        path: Path | bytes,
        options: onnxruntime.SessionOptions,
        provider: str,
        settings: Mapping[str, str],
        *,
        fold: bool,
    ) -> onnxruntime.InferenceSession:
        session = create(path, options, "cpu", {}, fold=fold)
        if provider == "cuda":
            assert isinstance(path, Path)
            asked.append((path.name, dict(settings)))
            session._providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        return session

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(obstacles, "read_driver", lambda: obstacles.Driver(status=0, version=99000, devices=2))
    monkeypatch.setattr(providers, "preload_cuda", lambda: None)
    monkeypatch.setattr(providers, "_create", pretend)
    monkeypatch.setattr(device, "_CUDA", "cpu")
    return asked
