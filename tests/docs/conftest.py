"""A folder for each page, in which what its blocks name exists, over a network that is small."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared import build_once
from zygote import Zygote

from hnexport import Normalisation, Usage
from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

NAMES = ("aeroplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="session")
def small_bundle() -> Path:
    """What the pages call bundles/wrn-28-10-hypernet-10: ten members of a WRN-10-1."""
    spec = PipelineSpec(network=WideResNetSpec.from_name("wrn-10-1"), members=10)
    said = Usage(normalisation=Normalisation(mean=(0.5,), std=(0.25,)), class_names={"logits": NAMES})
    return build_once(random_checkpoint(spec).with_usage(said)).path


@pytest.fixture
def reader(small_bundle: Path, tmp_path: Path) -> Path:
    """The folder in which a page is typed. What a page calls BUNDLE, DATA or IMAGE has these very names here."""
    for name in ("bundles/wrn-28-10-hypernet-10", "BUNDLE", "bundle"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copytree(small_bundle, tmp_path / name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    random = np.random.default_rng(0)
    for name in ("DATA", "TEST", "HELD_OUT", "OTHER", "held-out"):
        for label in range(10):
            (tmp_path / name / str(label)).mkdir(parents=True)
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / str(label) / "0.png")
    for name in ("IMAGE", "image.png", "cat.png"):
        shutil.copy(ROOT / "examples/images/cat.png", tmp_path / name)
    (tmp_path / "photos").mkdir()
    for name in ("cat", "rocket", "coffee"):
        shutil.copy(ROOT / f"examples/images/{name}.png", tmp_path / "photos")
    samples = random.standard_normal((20, 3, 32, 32)).astype(np.float32)
    for name in ("test.npz", "other.npz"):
        np.savez(tmp_path / name, image=samples, label=np.arange(20) % 10)
    return tmp_path


@pytest.fixture
def shell(zygote: Zygote, reader: Path) -> Callable[[tuple[str, ...]], str]:
    """Runs `hnexport ARGUMENTS` in the folder; what it printed. It may say that files differ, but not fail."""

    def run(arguments: tuple[str, ...]) -> str:
        environment = {**os.environ, "COLUMNS": "110", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = zygote.run(arguments, cwd=reader, env=environment)
        assert done.returncode == 0, f"hnexport {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}"
        return done.stdout

    return run
