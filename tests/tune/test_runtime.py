"""The runtime over graphs that are tuned for this machine."""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_types import MakeTensors
from shared import Built, build_once

from hnexport.build import BuildOptions
from hnexport.bundle import Format
from hnexport.errors import BundleError, ProviderError, RuntimeInputError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, WideResNetSpec
from hnexport.runtime import LoadedEnsemble, Strategy, load, loading
from hnexport.runtime.tuned import find_tuned
from hnexport.tune import tune

IMAGES = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two members of `wide`."""
    monkeypatch.setattr(loading, "available_bytes", lambda: int(2.1 * 1.1 / 0.5 * 4 * MEMBER_WEIGHTS))


# kernels of `wide`'s network, and the output layer that each member has of its own
MEMBER_WEIGHTS = (
    16 * 27 + 9 * (4 * 16 * 16 + 16 * 32 + 3 * 32 * 32 + 32 * 64 + 3 * 64 * 64) + 16 * 32 + 32 * 64 + 65 * 5
)


def load_folded(bundle: Path, **options: str | int | bool) -> LoadedEnsemble:
    return load(bundle, provider="cpu", strategy="folded", **options)


def test_every_member_is_what_it_is_when_materialised(wide: Built) -> None:
    tune(wide.path)
    folded, plain = load_folded(wide.path, check="all"), load(wide.path, provider="cpu", strategy="materialised")
    found, expected = folded.predict(IMAGES, members="all"), plain.predict(IMAGES, members="all")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert folded.strategy is Strategy.FOLDED
    assert folded.resident_members == (0, 1, 2)
    for member in range(3):
        np.testing.assert_array_equal(folded.predict(IMAGES, member=member), found[member])


@pytest.mark.parametrize("resident_members", [1, 3])
@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_folded_members_are_asked_one_after_the_other(wide: Built, resident_members: int) -> None:
    tune(wide.path)
    ensemble = load_folded(wide.path, resident_members=resident_members)
    whole = ensemble.predict_mean(IMAGES)
    found = ensemble.predict_mean(IMAGES, until="exact")
    assert np.array_equal(found.probabilities.argmax(axis=-1), whole.probabilities.argmax(axis=-1))
    for row, count in enumerate(found.members_used):
        own = ensemble.predict_mean(IMAGES[row : row + 1], members=range(count))
        np.testing.assert_allclose(found.probabilities[row], own.probabilities[0], atol=1e-6)
    assert ensemble.predict_mean(IMAGES, until=0.01).members_used.tolist() == [1, 1, 1]


def test_one_resident_member_gives_the_same_bits_in_any_order_and_from_any_thread(wide: Built) -> None:
    """A member's memory is used again for the next one: never while a call still reads it."""
    tune(wide.path)
    expected = load_folded(wide.path).predict(IMAGES, members="all")
    ensemble = load_folded(wide.path, resident_members=1)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        members = np.random.default_rng(seed).integers(3, size=50).tolist()
        wrong.extend(m for m in members if not np.array_equal(ensemble.predict(IMAGES, member=m), expected[m]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(ensemble.resident_members) == 1


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_a_bundle_that_is_not_tuned_is_refused_with_the_way_out(wide: Built) -> None:
    with pytest.raises(ProviderError, match="is not tuned for this machine: run `hnexport tune"):
        load_folded(wide.path)


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_it_is_tuned_on_request_and_only_once(wide: Built) -> None:
    ensemble = load_folded(wide.path, tune=True)
    assert np.isfinite(ensemble.predict(IMAGES, member=2)).all()
    folder = find_tuned(wide.manifest)
    assert folder is not None
    made = (folder / "tuned.json").stat().st_mtime_ns
    load_folded(wide.path, tune=True)
    assert (folder / "tuned.json").stat().st_mtime_ns == made


@pytest.mark.thorough
def test_tuning_that_fails_says_why(wide_network: WideResNetSpec, make_tensors: MakeTensors) -> None:
    spec = PipelineSpec(network=wide_network, members=2, recipe=RECIPES["batch-ensemble"], hypernet=None)
    options = BuildOptions(formats=(Format.ONNX,))
    built = build_once(Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"), options)
    with pytest.raises(BundleError, match=r"could not be tuned: .*nothing to fold"):
        load(built.path, provider="cpu", tune=True)


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_auto_prefers_tuned_graphs_to_generating_where_memory_is_short(wide: Built, little_memory: None) -> None:
    assert load(wide.path, provider="cpu").strategy is Strategy.GENERATED
    tune(wide.path)
    ensemble = load(wide.path, provider="cpu")
    assert (ensemble.strategy, ensemble.resident_limit) == (Strategy.FOLDED, 2)


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_auto_generates_where_tuned_graphs_are_damaged_and_says_so(
    wide: Built, little_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    tuned = tune(wide.path)
    (tuned.path / "folded-network.onnx").write_bytes(b"not a graph")
    with caplog.at_level(logging.WARNING, "hnexport.runtime"):
        assert load(wide.path, provider="cpu").strategy is Strategy.GENERATED
    assert "a damaged entry of the cache is not used" in caplog.text
    assert "folded-network.onnx" in caplog.text
    with pytest.raises(ProviderError, match="is not tuned for this machine"):
        load_folded(wide.path)


@pytest.mark.parametrize("wide", ["linear"], indirect=True)
def test_tuned_graphs_are_not_for_openvino(wide: Built) -> None:
    with pytest.raises(RuntimeInputError, match="tuned graphs are onnxruntime's"):
        load(wide.path, engine="openvino", strategy="folded")
