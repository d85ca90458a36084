"""The same data through PyTorch in float64 and through every artifact, side by side."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits import Split, TrainedDigits
from shared import Built

from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError
from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.results import Evaluation


@pytest.fixture(scope="module")
def trained() -> Ensemble:
    """The ensemble that the bundle was built from."""
    return TrainedDigits().ensemble()


def side_by_side(
    bundle: Path, data: Path, *artifacts: object, ensemble: Ensemble | None = None, **options: Any
) -> Evaluation:
    asked = EvaluateOptions(artifacts=artifacts, provider="cpu", **options)
    return evaluate(bundle, data, options=asked, ensemble=ensemble)


def test_every_artifact_answers_as_pytorch_does_in_float64(
    digits: Built, archive: Path, tested: Split, trained: Ensemble
) -> None:
    names = ("onnx", "onnx-ensemble", "torchscript", "pt2")
    found = side_by_side(digits.path, archive, *names)
    assert {source.name for source in found.sources} == {"float64", "runtime", *names}
    assert found.sources[0].name == "float64"
    assert "model.pt2" in found.sources[0].runtime
    for source in found.sources[1:]:
        assert source.difference.against == "float64"
        assert 0 < source.difference.probabilities < 1e-4
        assert (source.difference.answers, source.difference.ensemble_answers) == (0, 0)
    assert found.not_run == {}
    double = trained.double()
    with torch.no_grad():
        images = torch.from_numpy(tested.images).double()
        logits = [double(member, {"input": images})["logits"] for member in range(3)]
    likelihood = [float(torch.nn.functional.cross_entropy(one, torch.from_numpy(tested.labels))) for one in logits]
    assert [one.nll for one in found.sources[0].classification.each] == pytest.approx(likelihood, rel=1e-12)


def test_the_ensemble_itself_is_the_reference_where_it_is_given(
    digits: Built, archive: Path, trained: Ensemble
) -> None:
    given = side_by_side(digits.path, archive, "float64", ensemble=trained)
    held = side_by_side(digits.path, archive, "float64")
    assert [source.name for source in given.sources] == ["float64", "runtime"]
    assert "model.pt2" not in given.sources[0].runtime
    one, other = (found.sources[0].classification.ensemble for found in (given, held))
    assert one.nll == pytest.approx(other.nll, rel=1e-12)


def test_another_ensemble_is_no_reference(digits: Built, archive: Path) -> None:
    other = TrainedDigits(epochs=1).ensemble()
    found = side_by_side(digits.path, archive, "onnx", ensemble=other)
    assert "the ensemble in float64 does not give the reference of the golden samples" in found.not_run["float64"]
    assert [source.name for source in found.sources] == ["runtime", "onnx"]
    assert found.sources[1].difference.against == "runtime"


def test_a_network_that_the_bundle_holds_as_data_needs_no_program(built: Built, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.standard_normal((9, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=images, label=random.integers(0, 5, 9))
    found = side_by_side(built.path, tmp_path / "data.npz", "pt2")
    assert found.sources[0].name == "float64"
    assert "model.pt2" not in found.sources[0].runtime
    assert found.sources[2].difference.probabilities < 1e-4


def test_a_strangers_program_is_not_run_in_float64(
    digits: Built, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nobody"))
    bundle = shutil.copytree(digits.path, tmp_path / "bundle")
    found = side_by_side(bundle, archive, "float64", members=[0])
    assert "model.pt2 is a program that you did not build: give trust=True" in found.not_run["float64"]
    assert [source.name for source in found.sources] == ["runtime"]
    assert side_by_side(bundle, archive, "float64", trust=True, members=[0]).not_run == {}


def test_an_artifact_that_does_not_exist_is_refused_before_anything_runs(digits: Built, archive: Path) -> None:
    with pytest.raises(ParityError, match="there is no runtime 'tensorflow'; choose among float64, onnx, "):
        side_by_side(digits.path, archive, "tensorflow")
