"""A bundle that hnexport 0.1.0 wrote, stored as it was: see tests/data/README.md."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hnexport.bundle import read_golden, read_manifest
from hnexport.bundle.checksums import check_files
from hnexport.bundle.summary import summarise
from hnexport.cli.main import cli
from hnexport.parity import verify
from hnexport.runtime import load
from hnexport.runtime.tuned import machine

DATA = Path(__file__).parents[1] / "data"
BUNDLE = DATA / "bundle-v1"
ROUNDING = 1e-5  # relative L2: what a build itself is held to; other processors sum in another order


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(DATA / "bundle-v1-predictions.npz") as file:
        return dict(file)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_bundle_of_schema_1_is_read_and_whole() -> None:
    manifest = read_manifest(BUNDLE)
    check_files(BUNDLE, manifest, manifest.files)
    assert (manifest.schema_version, manifest.versions["hnexport"]) == (1, "0.1.0")
    assert {path.name for path in BUNDLE.iterdir()} == {*manifest.files, "manifest.json"}
    assert read_golden(BUNDLE).outputs["logits"].shape == (3, 6, 5)


def test_a_bundle_of_schema_1_is_inspected() -> None:
    summary = summarise(read_manifest(BUNDLE))
    assert (summary.counts["main network: weights"], summary.counts["container: weights"]) == (2641, 16453)
    done = CliRunner().invoke(cli, ["inspect", str(BUNDLE)])
    assert done.exit_code == 0, done.output
    assert "16,453" in done.stdout


@pytest.mark.parametrize("strategy", ["materialised", "generated"])
def test_a_bundle_of_schema_1_predicts_as_it_did(stored: dict[str, np.ndarray], strategy: str) -> None:
    ensemble = load(BUNDLE, provider="cpu", strategy=strategy, check="all")
    logits, expected = ensemble.predict(stored["images"], members="all"), stored[strategy]
    difference = np.linalg.norm(logits - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert difference.max() <= ROUNDING
    mean = ensemble.predict_mean(stored["images"]).probabilities
    np.testing.assert_allclose(mean, stored[f"{strategy}_mean"], rtol=ROUNDING)
    if hashlib.sha256(machine().encode()).hexdigest() == str(stored["machine"]):
        np.testing.assert_array_equal(logits, expected)


@pytest.mark.thorough
def test_every_graph_of_a_bundle_of_schema_1_still_computes_the_same() -> None:
    report = verify(BUNDLE)
    compared = {artifact.artifact for artifact in report.artifacts}
    assert compared >= {"onnx", "onnx-materialised", "onnx-ensemble"}  # TorchScript and .pt2 where they may run
    assert [line for artifact in report.artifacts for line in artifact.failures] == []
