"""Parity of several members in one call; every fault that is planted is found."""

import dataclasses

import numpy as np
import pytest

from hnexport.bundle import read_golden, read_manifest
from hnexport.parity import TOLERANCES, Precision
from hnexport.parity.ensemble import ENSEMBLES, Ensemble, verify_ensemble
from hnexport.parity.providers import Device
from hnexport.trust import Trust

TOLERANCE = TOLERANCES[Precision.FLOAT32]


def check(name, built, fault=None):
    manifest, golden = read_manifest(built.path), read_golden(built.path)
    ensemble = ENSEMBLES[name][1](built.path, manifest, Device(), Trust(everything=True))

    def run(cond_ids, images):
        outputs = ensemble.run(cond_ids, images)
        return outputs if fault is None else tuple(fault(*outputs))

    return verify_ensemble(name, Ensemble("a test", run), manifest, golden, TOLERANCE)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_every_member_and_their_summary_are_the_same(name, built):
    report = check(name, built)
    assert report.passed, report.failures
    assert [comparison.member for comparison in report.comparisons] == [0, 1, 2]


def test_a_build_verifies_the_ensembles(built):
    verified = list(built.manifest.parity)
    assert verified[-2:] == ["onnx-ensemble", "torchscript-ensemble"]


FAULTS = {
    "members in another order": (lambda logits, *rest: (logits[np.roll(np.arange(len(logits)), 1)], *rest), "member"),
    "the last member repeated": (lambda logits, *rest: (np.repeat(logits[-1:], len(logits), 0), *rest), "member"),
    "a mean of logits": (lambda logits, mean, *rest: (logits, logits.mean(axis=0), *rest), "mean probabilities"),
    "entropy in bits": (lambda logits, mean, h, mi: (logits, mean, h / np.log(2), mi), "mean probabilities"),
    "information in bits": (lambda logits, mean, h, mi: (logits, mean, h, mi / np.log(2)), "mean probabilities"),
    "a summary of the wrong shape": (lambda logits, mean, h, mi: (logits, mean[0], h, mi), "mean probabilities"),
    "a mean that leaves out NaN": (lambda logits, mean, h, mi: (logits, np.nan_to_num(mean), h, mi), "does not exist"),
    "numbers for an unknown id": (lambda *outputs: [np.nan_to_num(output) for output in outputs], "does not exist"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(fault, built):
    plant, named = FAULTS[fault]
    report = check("onnx-ensemble", built, plant)
    assert not report.passed
    assert any(named in line for line in report.failures), report.failures


def test_the_tolerance_is_the_single_runs(built):
    report = check("onnx-ensemble", built, lambda logits, *rest: (logits * np.float32(1 + 1e-4), *rest))
    assert not report.passed
    assert dataclasses.asdict(TOLERANCE)["relative_l2"] < 1e-4
