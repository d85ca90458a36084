"""What golden samples say of float32's noise excuses no fault: it is measured again, or the question stays open."""

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from bundles import rewrite_checksums, without_claims
from click.testing import CliRunner
from onnx import numpy_helper
from torch import Tensor, nn

import hnexport
from hnexport import Ensemble
from hnexport.build import BuildOptions, build
from hnexport.bundle.golden import read_golden, write_golden
from hnexport.bundle.manifest import Format
from hnexport.cli.main import cli
from hnexport.errors import BundleError
from hnexport.parity import Verdict, VerifyOptions, verify
from hnexport.rows import MOST_EXCUSED

Copied = Callable[[str], Path]
OPTIONS = VerifyOptions(artifacts=("onnx",))


class Small(nn.Module):
    """A value, and a choice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        scores = self.outer(torch.tanh(self.inner(features)))
        return {"scores": scores, "choice": scores.argmax(1)}


class Dust(nn.Module):
    """A value that is nothing but what rounding leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, features: Tensor) -> Tensor:
        scores = self.layer(features)
        return (scores * 3.3 - scores * 2.3) - scores


def built(make: Callable[[], nn.Module], target: Path) -> Path:
    modules = []
    for seed in range(2):
        torch.manual_seed(seed)
        modules.append(make().eval())
    ensemble = Ensemble.from_modules(modules, example_inputs={"features": torch.randn(4, 5)})
    build(ensemble, target, options=BuildOptions(formats=(Format.ONNX,)))
    return target


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(Small, tmp_path_factory.mktemp("whole") / "listed")


@pytest.fixture
def listed(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "listed"))


def forge(bundle: Path, what: str, value: float, output: str | None = None) -> None:
    """Write a value into every row of noise or eager's error, with new checksums, and let the bundle claim nothing."""
    golden = read_golden(bundle)
    held = getattr(golden, what)
    forged = {name: np.full_like(array, value) if output in (None, name) else array for name, array in held.items()}
    write_golden(bundle, dataclasses.replace(golden, **{what: forged}))
    without_claims(bundle)


def off_by(bundle: Path, factor: float) -> None:
    """Multiply the first floating-point output of `model.onnx`."""
    path = bundle / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [f"{name}/exact" if one == name else one for one in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", [f"{name}/exact", "factor"], [name]))
    path.write_bytes(model.SerializeToString())
    rewrite_checksums(bundle)


@pytest.mark.each_once
@pytest.mark.parametrize("value", [1e30, 1.0, 2e-3])
@pytest.mark.parametrize("what", ["noise", "eager"])
def test_noise_that_is_claimed_is_measured_again_where_the_network_is_known(
    what: str, value: float, copied: Copied
) -> None:
    bundle = copied("hypernet")
    forge(bundle, what, value)
    assert verify(bundle, OPTIONS).verdict is Verdict.SAME
    off_by(bundle, 1.001)
    assert verify(bundle, OPTIONS).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("value", [1e30, 1.0, MOST_EXCUSED / 2])
def test_what_noise_excuses_too_much_of_is_no_answer_where_nobody_can_measure_it(value: float, listed: Path) -> None:
    forge(listed, "noise", value, "scores")
    report = verify(listed, OPTIONS)
    assert report.verdict is Verdict.UNANSWERED
    assert "scores: noise" in report.unjudged
    off_by(listed, 1.005)
    assert verify(listed, OPTIONS).verdict is not Verdict.SAME
    shown = CliRunner().invoke(cli, ["verify", str(listed), "--runtimes", "onnx"])
    assert shown.exit_code == 2
    assert "Unanswered: scores: noise" in " ".join(shown.output.split())


def test_a_choice_that_may_fall_on_anything_is_no_answer(listed: Path) -> None:
    forge(listed, "noise", 1.0, "choice")
    assert verify(listed, OPTIONS).verdict is Verdict.UNANSWERED


@pytest.mark.parametrize("value", [1e30, 1.0])
def test_the_error_that_eager_claims_excuses_nothing(value: float, listed: Path) -> None:
    forge(listed, "eager", value)
    off_by(listed, 1.005)
    assert verify(listed, OPTIONS).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize("what", ["noise", "eager"])
@pytest.mark.parametrize("value", [1e308, np.inf, np.nan, -1e-9])
def test_noise_that_no_build_writes_is_refused(what: str, value: float, listed: Path) -> None:
    forge(listed, what, value)
    with pytest.raises(BundleError, match=rf"{what} \w+ holds numbers"):
        verify(listed, OPTIONS)


def test_a_share_of_whole_numbers_is_at_most_one(listed: Path) -> None:
    forge(listed, "noise", 1.5, "choice")
    with pytest.raises(BundleError, match="noise choice holds numbers outside of 0 to 1"):
        verify(listed, OPTIONS)


def test_a_bundle_that_this_user_built_is_believed(tmp_path: Path) -> None:
    bundle = built(Dust, tmp_path / "dust")
    assert verify(bundle, OPTIONS).verdict is Verdict.SAME
    without_claims(bundle)  # it is another one now
    assert verify(bundle, OPTIONS).verdict is Verdict.UNANSWERED
    assert verify(bundle, dataclasses.replace(OPTIONS, own=True)).verdict is Verdict.SAME


def test_load_judges_by_a_sample_that_can_be_judged(listed: Path, caplog: pytest.LogCaptureFixture) -> None:
    golden = read_golden(listed)
    noise = {name: array.copy() for name, array in golden.noise.items()}
    noise["scores"][:, :2] = 1e30
    outputs = {name: array.copy() for name, array in golden.outputs.items()}
    outputs["scores"][:, 2] *= 1.001  # type: ignore[misc] # mypy cannot infer it
    write_golden(listed, dataclasses.replace(golden, noise=noise, outputs=outputs))
    without_claims(listed)
    with pytest.raises(BundleError, match=r"sample 2 \(uniform\) is off by 1\.0e-03"):
        hnexport.runtime.load(listed)
    forge(listed, "noise", 1.0)
    with caplog.at_level(logging.WARNING):
        hnexport.runtime.load(listed)
    assert "nothing of scores is checked" in caplog.text
