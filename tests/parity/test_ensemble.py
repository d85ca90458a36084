"""Parity of several members in one call; every fault that is planted is found."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from eager import encoder, linear, together
from numpy.typing import NDArray
from shared import Built
from thorough import first

from hnexport.bundle import read_golden, read_manifest
from hnexport.bundle.golden import Golden
from hnexport.confine.trust import Trust
from hnexport.ensemble import Ensemble
from hnexport.parity import TOLERANCES, Precision, compute_golden, probe_inputs
from hnexport.parity.batches import LARGE_WEIGHTS
from hnexport.parity.ensemble import ENSEMBLES, EnsembleRunner, verify_ensemble
from hnexport.parity.limits import FULL, Limits
from hnexport.parity.providers import Device
from hnexport.parity.results import ArtifactReport
from hnexport.spec import Signature, Slot

TOLERANCE = TOLERANCES[Precision.FLOAT32]


def check(
    name: str,
    built: Built,
    fault: Callable[[Any], dict[Any, Any]] | Callable[[Any], dict[str, Any]] | None = None,
    limits: Limits = FULL,
) -> ArtifactReport:
    """`fault` changes the outputs by name, in place."""
    manifest, golden = read_manifest(built.path), read_golden(built.path)
    ensemble = ENSEMBLES[name][1](built.path, manifest, Device(), Trust(everything=True))

    def run(cond_ids: Any, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.generic]] | dict[Any, Any]:
        outputs = dict(ensemble.run(cond_ids, inputs))
        return outputs if fault is None else {**outputs, **fault(outputs)}

    return verify_ensemble(name, EnsembleRunner("a test", run, limits), manifest, golden, TOLERANCE)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_every_member_and_their_summary_are_the_same(name: str, built: Built) -> None:
    report = check(name, built)
    assert report.passed, report.failures
    assert [comparison.member for comparison in report.comparisons] == [0, 1, 2]
    assert set(report.batch_sizes) == {1, 3, len(read_golden(built.path).kinds), 33}


def test_a_build_verifies_the_ensembles(built: Built) -> None:
    verified = list(built.manifest.parity)
    assert verified[-2:] == ["onnx-ensemble", "torchscript-ensemble"]


FAULTS = {
    "members in another order": (lambda o: {"member_logits": o["member_logits"][::-1]}, "member"),
    "the last member repeated": (
        lambda o: {"member_logits": np.repeat(o["member_logits"][-1:], len(o["member_logits"]), 0)},
        "member",
    ),
    "a mean of logits": (lambda o: {"mean_probabilities": o["member_logits"].mean(axis=0)}, "mean probabilities"),
    "entropy in bits": (lambda o: {"predictive_entropy": o["predictive_entropy"] / np.log(2)}, "mean probabilities"),
    "information in bits": (lambda o: {"mutual_information": o["mutual_information"] / np.log(2)}, "mean prob"),
    "a summary of the wrong shape": (lambda o: {"mean_probabilities": o["mean_probabilities"][0]}, "mean prob"),
    "a mean over a constant number": (
        lambda o: {"mean_probabilities": o["mean_probabilities"] * np.float32(len(o["member_logits"]) / 3)},
        "mean probabilities",
    ),
    "a mean that leaves out NaN": (
        lambda o: {"mean_probabilities": np.nan_to_num(o["mean_probabilities"])},
        "does not exist",
    ),
    "numbers for an unknown id": (
        lambda o: {name: np.nan_to_num(array) for name, array in o.items()},
        "does not exist",
    ),
    "a batch limit of 32": (
        lambda o: {
            "member_logits": np.where(np.arange(o["member_logits"].shape[1])[:, None] < 32, o["member_logits"], 0)
        },
        "member",
    ),
}


@pytest.mark.parametrize("fault", first(4, FAULTS))
def test_a_planted_fault_is_found_and_named(fault: str, built: Built) -> None:
    plant, named = FAULTS[fault]
    report = check("onnx-ensemble", built, plant)
    assert not report.passed
    assert any(named in line for line in report.failures), report.failures


def test_a_runtime_that_loses_nan_may_leave_means_numbers_but_not_an_unknown_members_own(built: Built) -> None:
    means, _ = FAULTS["a mean that leaves out NaN"]
    report = check("onnx-ensemble", built, means, Limits(keeps_nan=False))
    assert report.passed, report.failures
    assert "since this runtime loses NaN: its loader must check ids" in str(report.checks)
    everything, _ = FAULTS["numbers for an unknown id"]
    assert not check("onnx-ensemble", built, everything, Limits(keeps_nan=False)).passed


def test_the_tolerance_is_the_single_runs(built: Built) -> None:
    report = check("onnx-ensemble", built, lambda o: {"member_logits": o["member_logits"] * np.float32(1 + 1e-4)})
    assert not report.passed
    assert dataclasses.asdict(TOLERANCE)["relative_l2"] < 1e-4


@dataclasses.dataclass(frozen=True)
class Described:
    """As much of a manifest as the judge asks for."""

    signature: Signature
    members: int
    slots: tuple[Slot, ...] = ()


@functools.cache
def known(make: Callable[..., Ensemble]) -> tuple[Ensemble, Golden]:
    ensemble = make()
    probes = probe_inputs(ensemble.signature, {name: one.numpy() for name, one in ensemble.examples.items()})
    return ensemble, compute_golden(ensemble, range(ensemble.members), probes.inputs, probes.kinds)


def judged(
    make: Callable[..., Ensemble],
    ids: Callable[[Any], Any] | Callable[[Any], NDArray[Any]] = lambda cond_ids: cond_ids,
    inputs: Callable[[Any], Any] | Callable[[Any], dict[str, Any]] = lambda given: given,
    outputs: Callable[[Any, Any], Any] = lambda cond_ids, found: found,
    weights: int = 0,
) -> ArtifactReport:
    ensemble, golden = known(make)
    sound = together(ensemble)

    def run(cond_ids: Any, given: Mapping[str, NDArray[Any]]) -> Any:
        return outputs(cond_ids, sound(ids(cond_ids.copy()), inputs(dict(given))))

    described = Described(ensemble.signature, ensemble.members, (Slot(name="weight", shape=(weights,)),))
    return verify_ensemble("a file", EnsembleRunner("a test", run), described, golden, TOLERANCE)


@pytest.mark.parametrize("make", [encoder, linear])
def test_an_ensemble_of_any_signature_is_the_same(make: Callable[..., Any]) -> None:
    report = judged(make)
    assert report.passed, report.failures


@pytest.mark.parametrize("cond_id", [-1, 3, 2**31 - 1, 2**32, 2**63 - 1, -(2**63)])
def test_an_ensemble_that_takes_an_unknown_id_is_found(cond_id: int) -> None:
    report = judged(linear, ids=lambda ids: np.where(ids == cond_id, 2, ids))
    assert any(f"cond_id {cond_id}" in line for line in report.failures)


def test_an_ensemble_that_turns_nan_to_0_is_found() -> None:
    report = judged(linear, inputs=lambda given: {"x": np.nan_to_num(given["x"])})
    assert any("NaN gets" in line for line in report.failures)


def test_a_variance_that_is_the_samples_is_found() -> None:
    def unbiased(cond_ids: Any, found: dict[str, NDArray[Any]]) -> dict[Any, Any]:
        members = len(cond_ids)
        return {**found, "variance_y": found["variance_y"] * np.float32(members / max(members - 1, 1))}

    report = judged(linear, outputs=unbiased)
    assert any("means and variances" in line for line in report.failures)


def test_members_beyond_the_second_ignored_in_the_mean_are_found() -> None:
    def short(cond_ids: Any, found: dict[str, NDArray[Any]]) -> dict[Any, Any]:
        return {**found, "mean_y": found["member_y"][:2].mean(axis=0)}

    assert not judged(linear, outputs=short).passed


def test_an_id_that_stands_twice_counts_twice() -> None:
    def once(cond_ids: Any, found: dict[str, NDArray[Any]]) -> dict[Any, Any]:
        _, rows = np.unique(cond_ids, return_index=True)
        return {**found, "mean_y": found["member_y"][rows].mean(axis=0)}

    assert not judged(linear, outputs=once).passed


LARGE = {
    "an id taken for a member": {"ids": lambda ids: np.where(ids == 2**32, 2, ids)},
    "NaN turned to 0": {"inputs": lambda given: {"x": np.nan_to_num(given["x"])}},
    "clipped": {"inputs": lambda given: {"x": np.clip(given["x"], -1000, 1000)}},
    "members beyond the second ignored": {
        "outputs": lambda ids, found: {**found, "mean_y": found["member_y"][:2].mean(axis=0)}
    },
    "members in order": {"ids": np.sort},
}


@pytest.mark.parametrize("name", first(2, [*LARGE, None]))
def test_large_members_meet_few_samples_together_and_a_planted_fault_is_found(name: str | None) -> None:
    report = judged(linear, **(LARGE[name] if name else {}), weights=LARGE_WEIGHTS + 1)
    assert report.batch_sizes == (1, 3, known(linear)[1].samples)
    assert report.passed == (name is None), report.failures
