"""Predictions of a loaded ensemble: what they are, and that threads and evictions leave them alone."""

import gc
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fixture_types import BuiltOnce
from numpy.typing import NDArray

from hnexport.bundle import read_golden
from hnexport.errors import RuntimeInputError
from hnexport.runtime import LoadedEnsemble, load
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine

STRATEGIES = ("materialised", "generated")
ENGINES = ("onnxruntime", "openvino")


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["hypernet", "batch-ensemble", "uint8", "one-member"])
def test_every_member_predicts_what_pytorch_in_float64_does(
    built_once: BuiltOnce, name: str, engine: str, strategy: str
) -> None:
    ensemble = load(built_once(name), engine=engine, strategy=strategy, provider="cpu", check="none")
    golden = read_golden(built_once(name))
    logits, known = ensemble.predict(golden.inputs["image"], members=golden.members), golden.outputs["logits"]
    assert logits.dtype == np.float32
    assert logits.shape == known.shape
    error = np.linalg.norm(logits - known, axis=-1) / np.linalg.norm(known, axis=-1)
    assert error.max() < 1e-5


@pytest.mark.each_once
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("engine", ENGINES)
def test_several_members_equal_single_calls_bit_for_bit(
    shared_bundle: Path, images: NDArray[np.float32], engine: str, strategy: str
) -> None:
    ensemble = load(shared_bundle, engine=engine, strategy=strategy, provider="cpu", check="none")
    together = ensemble.predict(images, members=[2, 7, 3, 2])
    single = np.stack([ensemble.predict(images, member=member) for member in (2, 7, 3, 2)])
    assert np.array_equal(together, single)
    assert not np.array_equal(together[0], together[1])


def test_all_means_every_member_in_order(ensemble: LoadedEnsemble, images: NDArray[np.float32]) -> None:
    assert np.array_equal(ensemble.predict(images, members="all"), ensemble.predict(images, members=range(10)))


def test_a_member_that_was_dropped_and_made_again_predicts_the_same_bits(
    shared_bundle: Path, images: NDArray[np.float32]
) -> None:
    ensemble = load(shared_bundle, provider="cpu", resident_members=1, check="none")
    first = ensemble.predict(images, member=4)
    ensemble.predict(images, member=5)
    assert ensemble.resident_members == (5,)
    assert np.array_equal(ensemble.predict(images, member=4), first)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nan_in_an_image_makes_only_its_own_row_nan(
    shared_bundle: Path, images: NDArray[np.float32], strategy: str
) -> None:
    ensemble = load(shared_bundle, provider="cpu", strategy=strategy, check="none")
    broken = images.copy()
    broken[1] = np.nan
    logits, whole = ensemble.predict(broken, member=0), ensemble.predict(images, member=0)
    assert np.isnan(logits[1]).all()
    assert np.array_equal(np.delete(logits, 1, axis=0), np.delete(whole, 1, axis=0))


def test_arrays_that_are_not_contiguous_are_fine(ensemble: LoadedEnsemble, images: NDArray[np.float32]) -> None:
    flipped = np.flip(images, axis=3)
    assert np.array_equal(ensemble.predict(flipped, member=0), ensemble.predict(flipped.copy(), member=0))


def test_eight_threads_get_the_single_threaded_bits_with_at_most_three_members_resident(
    shared_bundle: Path, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = load(shared_bundle, provider="cpu", strategy="materialised", check="none")
    expected = {(member, size): alone.predict(images[:size], member=member) for member in range(10) for size in (1, 3)}
    made = _record_predictors(monkeypatch)
    ensemble = load(shared_bundle, provider="cpu", resident_members=3, check="none")
    wrong, resident = [], []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        start.wait()
        for _ in range(60):
            member, size = int(random.integers(10)), int(random.choice([1, 3]))
            if not np.array_equal(ensemble.predict(images[:size], member=member), expected[member, size]):
                wrong.append((seed, member, size))
            resident.append(len(ensemble.resident_members))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert wrong == []
    assert len(resident) == 8 * 60
    assert max(resident) == 3
    assert len(made) > 10
    assert sum(reference() is not None for reference in made) == 3


def _record_predictors(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """Weak references to every plain network that is made from now on."""
    made, materialise = [], OnnxruntimeEngine.materialise

    def recorded(
        self: OnnxruntimeEngine, member: int, conditions: Any
    ) -> Callable[[Mapping[str, NDArray[np.generic]]], Mapping[str, NDArray[np.generic]]]:
        predictor = materialise(self, member, conditions)
        made.append(weakref.ref(predictor))
        return predictor

    monkeypatch.setattr(OnnxruntimeEngine, "materialise", recorded)
    return made


def test_threads_that_ask_for_the_same_member_make_it_once(
    shared_bundle: Path, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _record_predictors(monkeypatch)
    ensemble = load(shared_bundle, provider="cpu", strategy="materialised", check="none")
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        ensemble.predict(images, member=3)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_warm_makes_members_before_they_are_asked_for(
    shared_bundle: Path, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = load(shared_bundle, provider="cpu", resident_members=4, check="none")
    ensemble.warm([1, 5])
    assert ensemble.resident_members == (1, 5)
    made = _record_predictors(monkeypatch)
    ensemble.predict(images, members=[1, 5])
    assert made == []


def test_more_members_cannot_be_warm_than_resident(shared_bundle: Path) -> None:
    ensemble = load(shared_bundle, provider="cpu", resident_members=2, check="none")
    with pytest.raises(RuntimeInputError, match=r"10 members cannot be warm at once: 2 can be resident"):
        ensemble.warm()


def test_warm_of_a_member_that_does_not_exist_is_refused_whatever_the_strategy(shared_bundle: Path) -> None:
    ensemble = load(shared_bundle, provider="cpu", strategy="generated", check="none")
    ensemble.warm()
    with pytest.raises(RuntimeInputError, match="member 10 does not exist"):
        ensemble.warm([10])


BAD_CALLS = {
    "an unknown member": ({"member": 10}, "member 10 does not exist: this ensemble has members 0 to 9"),
    "a negative member": ({"member": -1}, "member -1 does not exist: this ensemble has members 0 to 9"),
    "a member among several": ({"members": [0, 99]}, "member 99 does not exist"),
    "no member": ({"members": []}, "members is empty"),
    "neither": ({}, "give either member=3 or members="),
    "both": ({"member": 0, "members": [1]}, "give either member=3 or members="),
    "a float": ({"member": 1.0}, "a member is a whole number, found 1.0"),
    "a bool": ({"member": True}, "a member is a whole number, found True"),
    "a word": ({"members": "some"}, "members must be 'all' or a list of numbers such as"),
    "an int for members": ({"members": 3}, "for one give member="),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_a_member_that_cannot_be_is_refused(
    ensemble: LoadedEnsemble, images: NDArray[np.float32], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        ensemble.predict(images, **arguments)


def test_the_mean_prediction_is_that_of_the_members_logits(
    ensemble: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    prediction = ensemble.predict_mean(images, members=[1, 4])
    logits = ensemble.predict(images, members=[1, 4])
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=-1, keepdims=True)
    assert prediction.members == (1, 4)
    assert np.array_equal(prediction.logits, logits)
    np.testing.assert_allclose(prediction.probabilities, p.mean(axis=0), rtol=1e-12)


def test_the_mean_is_over_all_members_unless_some_are_named(
    ensemble: LoadedEnsemble, images: NDArray[np.float32]
) -> None:
    assert ensemble.predict_mean(images).members == tuple(range(10))


def test_onnxruntime_copies_supplied_weights_so_that_they_need_not_be_kept(
    shared_bundle: Path, images: NDArray[np.float32]
) -> None:
    engine = load(shared_bundle, provider="cpu", resident_members=1, check="none")._residents._materialise.__self__
    assert isinstance(engine, OnnxruntimeEngine)
    engine.materialise(0)
    assert engine._refers_to_weights is False, f"onnxruntime {onnxruntime.__version__} refers to them: memory doubles"


def test_weights_are_kept_should_a_session_refer_to_them(
    shared_bundle: Path, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxruntimeEngine, "_shows_reference", _poison)
    ensemble = load(shared_bundle, provider="cpu", strategy="materialised", check="none")
    expected = load(shared_bundle, provider="cpu", strategy="generated", check="none").predict(images, member=2)
    np.testing.assert_allclose(ensemble.predict(images, member=2), expected, rtol=1e-4, atol=1e-6)
    assert len(ensemble._residents.predictor(2)._kept) == len(ensemble.manifest.onnx.supplied)


def _poison(self: object, session: Any, weights: Any) -> bool:
    for weight in weights.values():
        weight.fill(np.nan)
    return True
