"""Bundles of a tiny network: one for each way of generating weights and of taking images."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from shared import build_once

from hnexport.build import BuildOptions
from hnexport.bundle import Format
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.spec import RECIPES, ImageLayout, PreprocessSpec
from hnexport.runtime import device, load, obstacles, providers
from hnexport.spec import BasisDtype, HypernetSpec

MEMBERS = 10
SPECS = {
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
def built_once(make_spec, make_tensors) -> Callable[[str], Path]:
    """The bundle of one of `SPECS`; not to be changed."""

    @functools.cache
    def get(name: str = "hypernet") -> Path:
        spec = make_spec(**{"members": MEMBERS, **SPECS[name]})
        options = BuildOptions(formats=(Format.ONNX,), members=tuple(sorted({0, spec.members - 1})))
        return build_once(Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"), options).path

    return get


@pytest.fixture(scope="session")
def shared_bundle(built_once) -> Path:
    """The `hypernet` bundle; not to be changed."""
    return built_once()


@pytest.fixture
def own_bundle(shared_bundle, tmp_path) -> Path:
    """A copy of the `hypernet` bundle that a test may damage."""
    return Path(shutil.copytree(shared_bundle, tmp_path / "bundle"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def ensemble(shared_bundle):
    return load(shared_bundle, provider="cpu", check="none")


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """float32 [4, 3, 8, 8]."""
    return np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def pretend_cuda(monkeypatch):
    """Real sessions on the CPU that say they run on CUDA; gives the options each was asked for, by file."""
    asked, create = [], providers._create

    def pretend(path, options, provider, settings, *, fold):
        session = create(path, options, "cpu", {}, fold=fold)
        if provider == "cuda":
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
