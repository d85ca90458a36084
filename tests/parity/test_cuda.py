"""Parity on a GPU. Skipped without one; HNEXPORT_REQUIRE_CUDA=1 turns the skip into a failure (see `conftest`)."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hnexport.parity import Precision, VerifyOptions, verify
from hnexport.parity.tolerances import TF32_SHOWS

Pristine = Callable[[str], Path]
TOOL = Path(__file__).parents[2] / "tools" / "gpu_check.py"


@pytest.mark.each_once
@pytest.mark.cuda
@pytest.mark.parametrize("artifact", ["onnx", "onnx-materialised", "torchscript", "pt2"])
@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble"])
def test_strict_float32_on_cuda_is_strict(kind: str, artifact: str, pristine: Pristine) -> None:
    report = verify(pristine(kind), VerifyOptions(artifacts=(artifact,), provider="cuda"))
    assert report.passed, report.artifacts[0].failures
    assert report.artifacts[0].worst.relative_l2 < TF32_SHOWS
    assert "cuda" in report.artifacts[0].runtime


@pytest.mark.cuda
@pytest.mark.parametrize("artifact", ["onnx", "torchscript", "pt2"])
def test_tf32_on_cuda_is_within_its_own_tolerance(artifact: str, pristine: Pristine) -> None:
    options = VerifyOptions(artifacts=(artifact,), provider="cuda", precision=Precision.TF32)
    report = verify(pristine("hypernet"), options)
    assert report.passed, report.artifacts[0].failures


@pytest.mark.cuda
def test_every_layer_runs_on_cuda(pristine: Pristine) -> None:
    report = verify(pristine("hypernet"), VerifyOptions(artifacts=("onnx",), provider="cuda"))
    checks = {check.name: check for check in report.artifacts[0].checks}
    assert checks["every layer ran on the provider that was asked for"].passed


def test_the_gpu_check_says_why_it_cannot_run(pristine: Pristine) -> None:
    import os

    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(TOOL), str(pristine("hypernet"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no GPU check can be made here" in done.stderr
