"""A temperature is where the likelihood is largest; a derived bundle applies it in every runtime, and nowhere else."""

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits import Split, splits
from numpy.typing import NDArray
from shared import Built, built_list
from thorough import first
from torch import Tensor

from hnexport.build import BuildResult
from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Temperature, read_identified, read_manifest
from hnexport.card import bundle_card
from hnexport.cli.render_evaluate import print_evaluation
from hnexport.errors import BundleError, NotRunError, RuntimeInputError, SpecError
from hnexport.evaluate import EvaluateOptions, evaluate
from hnexport.evaluate.carded import measured, measured_for
from hnexport.evaluate.derive import derive_bundle
from hnexport.evaluate.results import Evaluation
from hnexport.evaluate.temperature import fit_temperature
from hnexport.parity import VerifyOptions, verify
from hnexport.records import from_json, to_json
from hnexport.runtime import load
from hnexport.spec import OutputKind, OutputSpec

LOGITS = OutputSpec(name="logits", dtype="float32", shape=("batch", 7), kind=OutputKind.LOGITS, axis=1)


def temperature(bundle: Path, output: str = "logits", value: float | Any = 1.5) -> Temperature:
    return Temperature(output=output, value=value, rows=400, source=read_identified(bundle).digest)


def test_the_temperature_is_where_the_likelihood_of_the_ensemble_is_largest() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 500)
    logits = (6 * random.standard_normal((4, 500, 7)) + 8 * np.eye(7)[labels]).astype(np.float32)
    found = fit_temperature(logits, labels, 15, LOGITS)
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser, right = torch.optim.LBFGS([log_t], max_iter=100), torch.from_numpy(labels)

    def nll() -> Tensor:
        log_p = torch.log_softmax(torch.from_numpy(logits).double() / log_t.exp(), -1)
        return torch.nn.functional.nll_loss(torch.logsumexp(log_p, 0) - np.log(4), right)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = nll()
        loss.backward()
        return loss

    optimiser.step(step)
    assert found.value == pytest.approx(float(log_t.detach().exp()), rel=1e-4)
    assert found.value == float(np.float32(found.value))
    assert found.after.nll == pytest.approx(float(nll().detach()), rel=1e-9)
    assert found.after.nll < found.before.nll


@pytest.mark.parametrize(("sign", "what"), [(1, "never wrong"), (-1, "no better than chance")])
def test_without_a_best_temperature_nothing_is_derived(sign: int, what: str) -> None:
    labels = np.arange(70) % 7
    with pytest.raises(RuntimeInputError, match=f"no temperature from 0.02 to 50 is best: .* {what}"):
        fit_temperature(sign * np.eye(7)[labels][np.newaxis], labels, 15, LOGITS)


def half_right(best: float) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Logits whose answer is right on every other row, and of which a temperature is best, and labels."""
    labels = np.arange(70) % 7
    answers = np.where(np.arange(70) % 2, labels, (labels + 1) % 7)
    return np.log(6) * best * np.eye(7)[answers][np.newaxis], labels  # exp(log 6) against six others: one half


@pytest.mark.parametrize(
    ("best", "why"),
    [(0.021, "is hardly ever wrong"), (1.0, ""), (30.0, ""), (48.0, "is hardly better than chance")],
)
def test_a_temperature_at_an_end_of_what_is_searched_has_a_remark(best: float, why: str) -> None:
    logits, labels = half_right(best)
    found = fit_temperature(logits, labels, 15, LOGITS)
    assert found.value == pytest.approx(best, rel=1e-4)
    assert bool(found.remark) == bool(why)
    if why:
        assert f"the temperature {best:g} is at the end of what is searched, 0.02 to 50" in found.remark
        assert f"on these 70 rows the ensemble {why}" in found.remark
        assert "fit it on other held-out data, or more" in found.remark


@pytest.mark.parametrize("size", [1e-10, 3e-8])
def test_logits_that_hardly_differ_are_refused_or_have_a_remark_where_the_search_ends(size: float) -> None:
    """Likelihood is flat there to the last bits, so that the search stops anywhere, also at an end."""
    random = np.random.default_rng(0)
    ends = []
    for _ in range(40):
        labels = random.integers(0, 7, 20)
        with contextlib.suppress(RuntimeInputError):
            ends.append(fit_temperature(size * random.standard_normal((3, 20, 7)), labels, 15, LOGITS))
    assert all(found.remark for found in ends if not 0.026 < found.value < 39)


def test_where_members_are_right_on_what_the_ensemble_gets_wrong_that_is_the_reason() -> None:
    labels = np.zeros(40, dtype=np.int64)
    logits = np.zeros((2, 40, 3))
    logits[:, :, 0] = 4
    logits[1, 0] = (0, 9, 0)  # surer of a wrong class than the other member is of the right one
    with pytest.raises(RuntimeInputError, match="the ensemble is wrong on 1, where some member is right: the surer"):
        fit_temperature(logits, labels, 15, LOGITS)


@pytest.fixture(scope="module")
def derived(digits: Built, tmp_path_factory: pytest.TempPathFactory) -> tuple[BuildResult, Evaluation, Path]:
    """The digits with the temperature that is best on those held out."""
    folder, held = tmp_path_factory.mktemp("derived"), splits()[1]
    np.savez(folder / "held.npz", input=held.images, label=held.labels)
    before = {file.name: file.read_bytes() for file in digits.path.iterdir()}
    found = evaluate(digits.path, folder / "held.npz", options=EvaluateOptions(temperature=True, provider="cpu"))
    asked = temperature(digits.path, value=found.temperature.value)
    done = derive_bundle(digits.path, folder / "new", asked, evaluation=found, provider="cpu")
    assert before == {file.name: file.read_bytes() for file in digits.path.iterdir()}
    assert done.parity.passed
    return done, found, folder / "held.npz"


def test_every_runtime_of_the_new_bundle_divides_the_logits(
    digits: Built, derived: tuple[BuildResult, Evaluation, Path], tested: Split
) -> None:
    done, fitted, _ = derived
    value = fitted.temperature.value
    assert read_manifest(done.path).temperature.value == value
    assert {one.artifact for one in done.parity.artifacts} >= {"onnx", "onnx-materialised", "torchscript", "pt2"}
    known = load(digits.path, provider="cpu").predict(tested.images, members="all")
    for strategy in ("generated", "materialised"):
        new = load(done.path, provider="cpu", strategy=strategy, check="all")
        np.testing.assert_allclose(
            new.predict(tested.images, members="all"), known / np.float32(value), rtol=1e-5, atol=1e-5
        )
    images = torch.from_numpy(tested.images[:5])
    for program in (torch.jit.load(done.path / "model.pt"), torch.export.load(done.path / "model.pt2").module()):
        with torch.no_grad():
            found = program(torch.tensor(2), images).numpy()
        np.testing.assert_allclose(found, known[2, :5] / np.float32(value), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        read_golden(done.path).outputs["logits"], read_golden(digits.path).outputs["logits"] / value
    )


def test_the_new_bundle_has_the_scores_that_were_promised_from_every_source(
    derived: tuple[BuildResult, Evaluation, Path],
) -> None:
    done, fitted, held = derived
    options = EvaluateOptions(artifacts=("onnx", "onnx-ensemble", "torchscript-ensemble"), provider="cpu")
    found = evaluate(done.path, held, options=options)
    assert len(found.sources) == 5
    for source in found.sources:
        assert source.classification.ensemble.nll == pytest.approx(fitted.temperature.after.nll, rel=1e-5)
    assert fitted.temperature.after.nll < fitted.temperature.before.nll


def test_the_card_of_the_new_bundle_says_what_it_was_fitted_on(
    derived: tuple[BuildResult, Evaluation, Path], tmp_path: Path
) -> None:
    done, fitted, _ = derived
    card = (done.path / "README.md").read_text(encoding="utf-8")
    after = fitted.temperature.after
    row = f"| ensemble, divided by {fitted.temperature.value:.4f} | {after.accuracy:.4f} | {after.nll:.4f} |"
    assert "On `held.npz`, 400 samples, output `logits`:" in card
    assert row in card
    assert "held-out data that the temperature was fitted on" in card
    assert "model-index" not in card  # what was fitted on these data is no score
    found = read_identified(done.path)
    assert bundle_card(done.path, found, [measured_for(found, fitted, tmp_path)]) == card


def test_a_remark_is_printed_recorded_and_on_the_card(
    derived: tuple[BuildResult, Evaluation, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, fitted, _ = derived
    remark = fit_temperature(*half_right(48.0), 15, LOGITS).remark
    assert fitted.temperature is not None
    found = dataclasses.replace(fitted, temperature=dataclasses.replace(fitted.temperature, remark=remark))
    print_evaluation(found)
    assert remark in " ".join(capsys.readouterr().out.split())
    assert from_json(Evaluation, to_json(found)).temperature.remark == remark
    before = to_json(found)
    del before["temperature"]["remark"]  # as an hnexport without remarks wrote it
    assert from_json(Evaluation, before).temperature.remark == ""
    assert any(remark[1:] in line for line in measured(found).remarks)
    assert not any("end of what is searched" in line for line in measured(fitted).remarks)


def test_a_network_that_is_known_as_data_is_verified_with_its_temperature(built: Built, tmp_path: Path) -> None:
    done = derive_bundle(built.path, tmp_path / "new", temperature(built.path, value=0.5), provider="cpu")
    assert verify(done.path, VerifyOptions(provider="cpu", artifacts=("onnx",), members=(1,))).passed
    images = read_golden(built.path).inputs["image"]
    np.savez(tmp_path / "data.npz", image=images, label=np.zeros(len(images), np.int64))
    found = evaluate(done.path, tmp_path / "data.npz", options=EvaluateOptions(artifacts=("float64",), provider="cpu"))
    assert found.not_run == {}  # the halves give the new golden samples
    assert "model.pt2" not in found.sources[0].runtime


@pytest.mark.parametrize("output", first(1, ["logits", "decoded"]))
def test_one_of_several_outputs_is_divided_and_the_others_stay(tmp_path: Path, output: str) -> None:
    bundle = built_list("reader").path
    done = derive_bundle(bundle, tmp_path / "new", temperature(bundle, output, value=2.0), provider="cpu")
    golden = read_golden(bundle)
    found, known = (load(one, provider="cpu").predict(golden.inputs, member=1) for one in (done.path, bundle))
    for name, values in known.items():
        np.testing.assert_array_equal(found[name], values / 2 if name == output else values)


def test_a_stranger_s_programs_are_not_read(digits: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nobody"))
    bundle = shutil.copytree(digits.path, tmp_path / "bundle")
    with pytest.raises(NotRunError, match="is a program that you did not build: give trust=True"):
        derive_bundle(bundle, tmp_path / "new", temperature(bundle))
    assert not (tmp_path / "new").exists()


def test_what_has_no_temperature_to_give_is_refused(
    digits: Built, derived: tuple[BuildResult, Evaluation, Path], tmp_path: Path
) -> None:
    done, _, _ = derived
    with pytest.raises(BundleError, match="has a temperature already"):
        derive_bundle(done.path, tmp_path / "new", temperature(done.path))
    with pytest.raises(BundleError, match="exists: choose another target"):
        derive_bundle(digits.path, done.path, temperature(digits.path))
    (tmp_path / "link").symlink_to(digits.path)
    for same in (digits.path, tmp_path / "link"):
        with pytest.raises(BundleError, match="is the bundle itself, which stays as it is: choose another target"):
            derive_bundle(digits.path, same, temperature(digits.path), force=True)
    with pytest.raises(SpecError, match="there is no output 'scores'"):
        derive_bundle(digits.path, tmp_path / "new", temperature(digits.path, output="scores"))
    regressor = built_list("regressor").path
    with pytest.raises(SpecError, match="mean is a value: only logits have a temperature"):
        derive_bundle(regressor, tmp_path / "new", temperature(regressor, output="mean"))
    with pytest.raises(BundleError, match="digest"):
        derive_bundle(digits.path, tmp_path / "new", temperature(digits.path), digest="sha256:" + "0" * 64)
