"""Networks of any signature: several inputs and outputs, open axes, no batch, whole numbers and float64."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixture_types import AskedSessions
from module_ensembles import ENSEMBLES
from numpy.typing import NDArray
from shared import built_list

from hnexport.bundle import read_golden, read_manifest
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.rows import row_errors
from hnexport.runtime import (
    CudaOptions,
    EnsemblePrediction,
    EnsembleValue,
    LoadedEnsemble,
    Strategy,
    files,
    load,
    loading,
)
from hnexport.runtime.device import can_capture
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.runtime.shares import member_bytes, own_share
from hnexport.spec import OutputSpec, Signature, TensorSpec

LISTS = ("reader", "cnn", "pixels", "regressor")

STRATEGIES = ("materialised", "generated")
ENGINES = ("onnxruntime", "openvino")


@pytest.fixture
def reader() -> LoadedEnsemble:
    return load(built_list("reader").path, provider="cpu", check="none")


@pytest.fixture
def texts() -> dict[Any, Any]:
    """Two texts of four tokens."""
    random = np.random.default_rng(3)
    return {"tokens": random.integers(0, 11, (2, 4)), "weighting": random.random((2, 4)).astype(np.float32) + 0.1}


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", LISTS)
def test_every_output_of_every_member_is_what_pytorch_in_float64_gives(name: str, engine: str, strategy: str) -> None:
    bundle = built_list(name).path
    ensemble = load(bundle, engine=engine, strategy=strategy, provider="cpu", check="all")
    golden = read_golden(bundle)
    found = ensemble.predict(golden.inputs, members="all")
    for output in ensemble.signature.outputs:
        array = found[output.name] if isinstance(found, dict) else found
        assert array.dtype == output.dtype
        known = golden.outputs[output.name]
        assert array.shape == known.shape
        if output.is_floating:
            assert row_errors(array.reshape(*known.shape[:1], -1), known.reshape(*known.shape[:1], -1)).max() < 1e-5
        else:
            assert np.array_equal(array, known)


def test_inputs_in_a_mapping_and_by_their_names_are_the_same(reader: LoadedEnsemble, texts: dict[Any, Any]) -> None:
    together, named = reader.predict(texts, member=1), reader.predict(**texts, member=1)
    assert list(together) == ["logits", "decoded", "choice"]
    assert all(np.array_equal(together[name], named[name]) for name in together)


def test_the_only_input_may_be_given_by_its_name_too() -> None:
    cnn = load(built_list("cnn").path, provider="cpu", check="none")
    image = read_golden(built_list("cnn").path).inputs["image"]
    expected = cnn.predict(image, member=2)
    assert isinstance(expected, np.ndarray)
    for found in (
        cnn.predict({"image": image}, member=2),
        cnn.predict(image=image, member=2),
        cnn.predict(images=image, member=2),
    ):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_several_members_of_several_outputs_equal_single_calls_bit_for_bit(
    texts: dict[Any, Any], strategy: str
) -> None:
    reader = load(built_list("reader").path, provider="cpu", strategy=strategy, check="none")
    together = reader.predict(texts, members=[2, 0, 2])
    for row, member in enumerate((2, 0, 2)):
        alone = reader.predict(texts, member=member)
        assert all(np.array_equal(together[name][row], alone[name]) for name in alone)


@pytest.mark.each_once
@pytest.mark.parametrize("time", [1, 4, 9])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_open_axis_takes_any_size(strategy: str, time: int) -> None:
    random = np.random.default_rng(time)
    texts = {"tokens": random.integers(0, 11, (5, time)), "weighting": random.random((5, time), np.float32) + 0.1}
    found = load(built_list("reader").path, provider="cpu", strategy=strategy).predict(texts, member=2)
    with torch.no_grad():
        known = ENSEMBLES["reader"].ensemble()(2, {name: torch.from_numpy(array) for name, array in texts.items()})
    assert found["decoded"].shape == (5, time, 11)
    for name in ("logits", "decoded"):
        np.testing.assert_allclose(found[name], known[name].numpy(), rtol=1e-4, atol=1e-5)


REFUSED = {
    "another time": (lambda t, w: {"tokens": t, "weighting": w[:, 1:]}, r"axis 'time': tokens has 4, weighting has 3"),
    "another batch": (lambda t, w: {"tokens": t[:1], "weighting": w}, r"axis 'batch': tokens has 1, weighting has 2"),
    "one is missing": (
        lambda t, w: {"tokens": t},
        "the input 'weighting' is missing: this network takes tokens, weighting",
    ),
    "one is unknown": (
        lambda t, w: {"tokens": t, "weighting": w, "mask": w},
        "there is no input 'mask': this network takes tokens, weighting",
    ),
    "one has another name": (
        lambda t, w: {"tokens": t, "weights": w},
        "the input 'weighting' is missing, there is no input 'weights': this network takes tokens, weighting",
    ),
    "no mapping": (lambda t, w: t, r"takes 2 inputs: give them by name, \{'tokens': …, 'weighting': …\}"),
    "float tokens": (
        lambda t, w: {"tokens": t.astype(np.float32), "weighting": w},
        r"samples of tokens: expected int64, found float32; .*tokens.astype\(np.int64\)",
    ),
    "float64 weights": (
        lambda t, w: {"tokens": t, "weighting": w.astype(float)},
        r"samples of weighting: expected float32, found float64; cast them with weighting.astype\(np.float32\)",
    ),
    "one sample": (
        lambda t, w: {"tokens": t[0], "weighting": w[0]},
        r"samples of tokens: expected shape \[batch, time\], found \[4\]; for one sample give tokens\[np.newaxis\]",
    ),
    "an empty batch": (
        lambda t, w: {"tokens": t[:0], "weighting": w[:0]},
        "samples of tokens: the batch is empty; give at least one sample",
    ),
    "text": (lambda t, w: {"tokens": "good", "weighting": w}, "samples of tokens: expected an array, found str"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_inputs_that_do_not_fit_are_our_error(
    reader: LoadedEnsemble, texts: dict[Any, Any], given: Callable[[Any, Any], Any], message: str
) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        reader.predict(given(*texts.values()), member=0)


def test_inputs_are_given_once(reader: LoadedEnsemble, texts: dict[Any, Any]) -> None:
    with pytest.raises(RuntimeInputError, match="either in one argument or by their names, not both"):
        reader.predict(texts, tokens=texts["tokens"], member=0)
    with pytest.raises(RuntimeInputError, match="the input 'tokens' is missing"):
        reader.predict(member=0)


@pytest.mark.parametrize(
    "change",
    [lambda tokens: tokens.astype(np.int32), lambda tokens: tokens.astype(np.uint8), lambda tokens: tokens.tolist()],
    ids=["int32", "uint8", "lists"],
)
def test_whole_numbers_of_any_kind_that_fit_are_taken(
    reader: LoadedEnsemble, texts: dict[Any, Any], change: Callable[[Any], Any]
) -> None:
    expected, found = (
        reader.predict({**texts, "tokens": tokens}, member=1) for tokens in (texts["tokens"], change(texts["tokens"]))
    )
    assert np.array_equal(found["logits"], expected["logits"])


def test_whole_numbers_of_python_become_floats_where_no_pixels_are_meant() -> None:
    regressor = load(built_list("regressor").path, provider="cpu")
    features = [[1, 2, 3, 4]]
    found = regressor.predict(features=features, setting=[1], member=0)
    known = regressor.predict(features=np.array(features, float), setting=np.ones(1), member=0)
    assert np.array_equal(found["mean"], known["mean"])


def test_a_prediction_of_several_outputs_is_said_of_each(reader: LoadedEnsemble, texts: dict[Any, Any]) -> None:
    found, several = reader.predict_mean(texts), reader.predict(texts, members="all")
    assert list(found) == ["logits", "decoded", "choice"]
    logits, decoded, choice = found.values()
    assert isinstance(logits, EnsemblePrediction)
    assert isinstance(choice, EnsembleValue)
    assert (logits.probabilities.shape, logits.mutual_information.shape) == ((2, 3), (2,))
    assert (decoded.probabilities.shape, decoded.votes.shape, decoded.predictive_entropy.shape) == (
        (2, 4, 11),
        (2, 4, 11),
        (2, 4),
    )
    assert (choice.mean, choice.variance) == (None, None)
    assert np.array_equal(choice.values, several["choice"])


def test_classes_may_lie_along_any_axis() -> None:
    pixels = load(built_list("pixels").path, provider="cpu")
    field = ENSEMBLES["pixels"].inputs(3, 1)["field"].numpy()
    found = pixels.predict_mean(field)
    logits = pixels.predict(field, members="all").astype(float)
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(found.probabilities, p.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.member_probabilities, p, rtol=1e-12)
    entropy = -(found.probabilities * np.log(found.probabilities)).sum(axis=1)
    np.testing.assert_allclose(found.predictive_entropy, entropy, rtol=1e-10)
    assert found.predictive_entropy.shape == (3, 5, 5)
    assert np.array_equal(found.votes.sum(axis=1), np.full((3, 5, 5), 3))
    assert (found.votes.argmax(axis=1) == logits.argmax(axis=2)[0])[(found.votes.max(axis=1) == 3)].all()
    assert pixels.classes == 4


def test_a_value_has_the_members_mean_and_variance_as_a_population() -> None:
    bundle = built_list("regressor").path
    golden = read_golden(bundle)
    found = load(bundle, provider="cpu").predict_mean(golden.inputs)
    for name in ("mean", "whole"):
        known = golden.outputs[name]
        np.testing.assert_allclose(found[name].mean, known.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(found[name].variance, known.var(axis=0), rtol=1e-8)
    assert found["whole"].mean.shape == ()
    assert found["whole"].values.shape == (2,)


def test_a_loaded_list_says_what_it_is(reader: LoadedEnsemble) -> None:
    assert repr(reader) == "<LoadedEnsemble reader: 3 members, onnxruntime on cpu, materialised>"
    assert reader.classes == 0
    assert [tensor.name for tensor in reader.signature.inputs] == ["tokens", "weighting"]


@pytest.mark.parametrize("name", LISTS)
def test_members_of_a_list_are_materialised_where_they_fit(name: str) -> None:
    assert load(built_list(name).path, provider="cpu").strategy is Strategy.MATERIALISED


def test_a_list_that_shares_nearly_everything_generates(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(built_list("reader").path)
    assert 0.25 < own_share(manifest) < 1
    monkeypatch.setattr(loading, "own_share", lambda manifest: 0.2)
    assert load(built_list("reader").path, provider="cpu").strategy is Strategy.GENERATED


def test_a_tied_weight_counts_once() -> None:
    manifest = read_manifest(built_list("reader").path)
    tied = [slot for slot in manifest.slots if slot.alias_of is not None]
    assert [slot.name for slot in tied] == ["decode.weight"]
    assert member_bytes(manifest) == sum(slot.size_bytes for slot in manifest.slots) - tied[0].size_bytes


@pytest.mark.parametrize("name", LISTS)
def test_weights_that_a_session_refers_to_are_kept_and_no_others(name: str) -> None:
    """NaN in what was given, after the session was made: outputs change if it refers to them, so they are kept."""
    bundle = built_list(name).path
    engine = OnnxruntimeEngine(bundle, read_manifest(bundle), "cpu", 1, trial=lambda: _first(bundle))
    before = engine.materialise(1)(_first(bundle))
    assert engine._refers_to_weights in (False, True)
    after = engine.materialise(1)(_first(bundle))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(np.isfinite(array).all() for array in after.values())


def test_where_no_sample_is_known_that_runs_the_weights_are_kept() -> None:
    bundle = built_list("reader").path

    def broken() -> dict[Any, Any]:
        return {name: array[..., :1] for name, array in {**_first(bundle), "weighting": np.ones((2, 3))}.items()}

    engine = OnnxruntimeEngine(bundle, read_manifest(bundle), "cpu", 1, trial=broken)
    engine.materialise(0)
    assert engine._refers_to_weights is True


def _first(bundle: Path) -> dict[Any, Any]:
    return {name: array[:1] for name, array in read_golden(bundle).inputs.items()}


def golden_with(monkeypatch: pytest.MonkeyPatch, bundle: Path, change: Callable[[Any], None]) -> None:
    """Let `load` read golden samples that were changed."""
    golden = read_golden(bundle)
    outputs = {name: array.copy() for name, array in golden.outputs.items()}
    change(outputs)
    monkeypatch.setattr(files, "read_golden", lambda folder, manifest: dataclasses.replace(golden, outputs=outputs))


def test_the_output_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = built_list("reader").path

    def change(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["decoded"][2, 1] *= 1.001

    golden_with(monkeypatch, bundle, change)
    load(bundle, provider="cpu", check="sample")
    with pytest.raises(BundleError, match=r"member 2 .* sample 1 \(\w+\) is off by .* in decoded, allowed 4\.0e-05"):
        load(bundle, provider="cpu", check="all")


def test_an_output_of_the_whole_batch_is_checked_over_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = built_list("regressor").path
    load(bundle, provider="cpu", check="sample")

    def change(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["whole"][0] *= 1.001

    golden_with(monkeypatch, bundle, change)
    with pytest.raises(BundleError, match=r"member 0 .*: whole is off by"):
        load(bundle, provider="cpu", check="sample")


@pytest.mark.parametrize(("wrong", "refused"), [(1, False), (2, True)])
def test_one_whole_number_may_be_another_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: int, refused: bool
) -> None:
    bundle = built_list("reader").path

    def change(outputs: dict[str, NDArray[Any]]) -> None:
        outputs["choice"].reshape(-1)[:wrong] += 1

    golden_with(monkeypatch, bundle, change)
    if refused:
        with pytest.raises(BundleError, match="2 elements of choice differ"):
            load(bundle, provider="cpu", check="all")
        return
    with caplog.at_level(logging.INFO, "hnexport.runtime"):
        load(bundle, provider="cpu", check="all")
    assert "as a tie may be" in caplog.text


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", LISTS)
def test_cuda_binds_every_input_and_output_and_captures_only_what_it_can(
    name: str, strategy: str, pretend_cuda: AskedSessions, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = built_list(name).path
    options: dict[str, Any] = {
        "provider": "cuda",
        "strategy": strategy,
        "check": "all",
        "cuda": CudaOptions(graph=True),
    }
    with caplog.at_level(logging.INFO, "hnexport.runtime"):
        ensemble = load(bundle, **options)
    captured = name in ("cnn", "pixels")
    assert ("calls are not captured as CUDA graphs" in caplog.text) is not captured
    assert pretend_cuda[-1][1]["enable_cuda_graph"] == str(int(captured))
    golden = read_golden(bundle)
    expected = load(bundle, provider="cpu", strategy=strategy).outputs(1, golden.inputs)
    found = ensemble.outputs(1, golden.inputs)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


IMAGE = TensorSpec(name="image", dtype="float32", shape=("batch", 3, 8, 8))
VALUES = OutputSpec(name="values", dtype="float32", shape=("batch", 5))
CAPTURED = {
    "an image": (Signature(inputs=(IMAGE,), outputs=(VALUES,)), True),
    "pixels": (Signature(inputs=(dataclasses.replace(IMAGE, dtype="uint8"),), outputs=(VALUES,)), True),
    "tokens": (Signature(inputs=(dataclasses.replace(IMAGE, dtype="int64"),), outputs=(VALUES,)), False),
    "an open axis": (
        Signature(inputs=(dataclasses.replace(IMAGE, shape=("batch", "time", 8, 8)),), outputs=(VALUES,)),
        False,
    ),
    "no batch": (Signature(inputs=(dataclasses.replace(IMAGE, shape=(3, 8, 8)),), outputs=(VALUES,)), False),
    "two inputs": (Signature(inputs=(IMAGE, dataclasses.replace(IMAGE, name="other")), outputs=(VALUES,)), False),
    "two outputs": (Signature(inputs=(IMAGE,), outputs=(VALUES, dataclasses.replace(VALUES, name="more"))), False),
}


@pytest.mark.parametrize(("signature", "captured"), CAPTURED.values(), ids=CAPTURED.keys())
def test_a_graph_is_captured_of_one_batch_of_floats_or_pixels_alone(signature: Signature, captured: bool) -> None:
    assert can_capture(signature) is captured
