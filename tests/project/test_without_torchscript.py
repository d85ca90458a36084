"""PyTorch has deprecated TorchScript: where it is gone, everything else goes on, and what asks for it says so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from shared import Built

from hnexport.build import BuildOptions, build, default_formats
from hnexport.bundle.manifest import Format
from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.results import Verdict
from hnexport.runtime import load
from hnexport.spec.kinds import Logits


@pytest.fixture
def no_torchscript(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.jit` without what writes and reads files; PyTorch 2.13 itself needs some of the rest."""
    for name in ("script", "trace", "load", "save"):
        monkeypatch.delattr(torch.jit, name)


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval() for _ in range(2)]
    outputs = {"logits": Logits(axis=1)}
    return Ensemble.from_modules(networks, example_inputs=torch.zeros(1, 3, 2, 2), outputs=outputs)


@pytest.mark.usefixtures("no_torchscript")
def test_a_bundle_is_built_verified_and_loaded_without_it(ensemble: Ensemble, tmp_path: Path) -> None:
    assert default_formats(0) == (Format.ONNX, Format.PT2)
    result = build(ensemble, tmp_path / "bundle")
    assert result.manifest.formats == (Format.ONNX, Format.PT2)
    assert not (result.path / "model.pt").exists()
    assert verify(result.path).passed
    image = np.ones((2, 3, 2, 2), np.float32)
    assert load(result.path).predict(image, member=1).shape == (2, 3)


@pytest.mark.usefixtures("no_torchscript")
def test_who_asks_for_it_is_told_what_to_do(ensemble: Ensemble, tmp_path: Path) -> None:
    with pytest.raises(
        CaptureError, match=r"has no TorchScript any more: build the bundle without Format\.TORCHSCRIPT"
    ):
        build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.TORCHSCRIPT,)))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("no_torchscript")
def test_an_older_bundle_loads_and_its_other_files_are_verified(built: Built) -> None:
    assert load(built.path).members == built.manifest.members
    report = verify(built.path, VerifyOptions(trust=True))
    assert report.verdict is Verdict.UNANSWERED
    assert set(report.refused) == {"torchscript", "torchscript-ensemble"}
    assert all("no TorchScript any more: verify it where PyTorch is older" in why for why in report.refused.values())
    assert {"onnx", "pt2"} <= {artifact.artifact for artifact in report.artifacts if artifact.passed}
