"""An artifact of any signature is judged by the names of its outputs; what differs is found, what is right is not."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from eager import EagerRunner, encoder, linear
from numpy.typing import NDArray
from thorough import first

from hnexport.bundle.golden import Golden
from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError
from hnexport.parity import compute_golden, probe_inputs
from hnexport.parity.artifact import Plan, verify_artifact
from hnexport.parity.batches import allowed_sizes
from hnexport.parity.limits import Limits
from hnexport.parity.results import ArtifactReport
from hnexport.parity.tolerances import TOLERANCES, Precision


@functools.cache
def known(make: Callable[..., Ensemble], seed: int = 0) -> tuple[Ensemble, Golden]:
    ensemble = make(seed)
    probes = probe_inputs(ensemble.signature, {name: one.numpy() for name, one in ensemble.examples.items()}, seed)
    return ensemble, compute_golden(ensemble, range(ensemble.members), probes.inputs, probes.kinds)


def judged(
    make: Callable[..., Ensemble] = encoder, fault: Any = None, limits: Limits | None = None, seed: int = 0
) -> ArtifactReport:
    ensemble, golden = known(make, seed)
    runner = EagerRunner(ensemble, fault, limits or Limits())
    sizes = allowed_sizes("eager", runner.limits, None, golden.samples)
    plan = Plan(members=ensemble.members, batch_sizes=sizes, tolerance=TOLERANCES[Precision.FLOAT32])
    return verify_artifact("eager", runner, ensemble.signature, golden, plan)


@pytest.mark.parametrize("make", [encoder, linear])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_right_is_the_same_for_every_output(make: Callable[..., Any], seed: int) -> None:
    report = judged(make, seed=seed)
    assert report.passed, report.failures
    names = [output.name for output in known(make, seed)[0].signature.outputs]
    assert [output.output for output in report.comparisons[0].outputs] == names
    assert {1, 3, 33, 257} <= set(report.batch_sizes)


def after(change: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], None]:
    def fault(cond_id: int, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        if outputs:
            change(cond_id, inputs, outputs)

    return fault


def before(change: Callable[[Any, Any], Any] | Callable[[Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    def fault(cond_id: int, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        if not outputs:
            change(cond_id, inputs)

    return fault


def changed(name: str, change: Any) -> Any:
    return after(lambda cond_id, inputs, outputs: outputs.update({name: change(outputs[name].copy())}))


def zeroed(rows: slice) -> Callable[[Any], Any]:
    def change(array: NDArray[Any]) -> Any:
        array[rows] = 0
        return array

    return change


FAULTS = {
    "samples after the sixth dropped": changed("classes", zeroed(slice(6, None))),
    "a batch limit of 32": changed("values", zeroed(slice(32, None))),
    "a batch limit of 200": changed("values", zeroed(slice(200, None))),
    "a second output that is off": changed("values", lambda array: array * (1 + 1e-4)),
    "an integer output that is off by one": changed("winner", lambda array: (array + 1) % 3),
    "a scalar output that is off": changed("largest", lambda array: array * np.float32(1 + 1e-4)),
    "an input ignored": before(lambda cond_id, inputs: inputs.update(weighting=torch.ones_like(inputs["weighting"]))),
    "an input clipped beyond 1000": before(
        lambda cond_id, inputs: inputs.update(weighting=inputs["weighting"].clamp(-1000, 1000))
    ),
    "NaN turned to 0": before(lambda cond_id, inputs: inputs.update(weighting=inputs["weighting"].nan_to_num(0.0))),
    "a NaN that reaches other samples": before(
        lambda cond_id, inputs: inputs.update(
            weighting=inputs["weighting"] + 0 * inputs["weighting"].mean(0, keepdim=True)
        )
    ),
    "an unknown id that gets numbers in one output": changed("values", np.nan_to_num),
    "two members swapped": None,
}


@pytest.mark.parametrize("name", first(4, [name for name in FAULTS if FAULTS[name] is not None]))
def test_a_planted_fault_is_found(name: str) -> None:
    assert not judged(fault=FAULTS[name]).passed


FEW = {
    "a batch limit of 32": changed("y", zeroed(slice(32, None))),
    "samples after the sixth dropped": changed("y", zeroed(slice(6, None))),
    "an input clipped beyond 1000": before(lambda cond_id, inputs: inputs.update(x=inputs["x"].clamp(-1000, 1000))),
    "NaN turned to 0": before(lambda cond_id, inputs: inputs.update(x=inputs["x"].nan_to_num(0.0))),
    "a NaN that reaches other samples": before(
        lambda cond_id, inputs: inputs.update(x=inputs["x"] + 0 * inputs["x"].mean(0, keepdim=True))
    ),
    "an infinity that reaches other samples": before(
        lambda cond_id, inputs: inputs.update(x=inputs["x"] + 0 * inputs["x"].nan_to_num(0.0, np.inf, -np.inf).mean(0))
    ),
    "an unknown id that gets numbers": changed("y", np.nan_to_num),
    "one member's outputs off": lambda cond_id, inputs, outputs: (
        outputs.update(y=outputs["y"] * np.float32(1 + 1e-4)) if outputs and cond_id == 2 else None
    ),
}


@pytest.mark.parametrize("name", first(3, [*FEW, None]))
def test_large_members_meet_few_samples_and_a_planted_fault_is_found(name: str | None) -> None:
    ensemble, golden = known(linear)
    sizes = allowed_sizes("eager", Limits(), None, None)
    plan = Plan(members=3, batch_sizes=sizes, tolerance=TOLERANCES[Precision.FLOAT32], every_sample=False)
    runner = EagerRunner(ensemble, FEW[name] if name else None)
    report = verify_artifact("eager", runner, ensemble.signature, golden, plan)
    assert sizes == (1, 3)
    assert report.passed == (name is None), report.failures


@pytest.mark.parametrize(("sample_seconds", "largest"), [(1e-9, 257), (0.1, 33)])
def test_what_a_sample_is_said_to_cost_decides_about_the_largest_batch_and_not_the_clock(
    sample_seconds: float, largest: int
) -> None:
    ensemble, golden = known(linear)
    sizes, tolerance = (1, 3, golden.samples), TOLERANCES[Precision.FLOAT32]
    runner = EagerRunner(ensemble, before(lambda cond_id, inputs: time.sleep(0.05)))
    plan = Plan(members=3, batch_sizes=sizes, tolerance=tolerance, sample_seconds=sample_seconds)
    assert max(verify_artifact("eager", runner, ensemble.signature, golden, plan).batch_sizes) == largest


def test_swapped_members_are_found() -> None:
    ensemble, golden = known(encoder)
    runner: Any = EagerRunner(ensemble)
    inner = runner.run
    runner.run = lambda cond_id, inputs: inner({0: 1, 1: 0}.get(cond_id, cond_id), inputs)
    plan = Plan(members=3, batch_sizes=(1, 3), tolerance=TOLERANCES[Precision.FLOAT32])
    report = verify_artifact("eager", runner, ensemble.signature, golden, plan)
    assert [item.passed for item in report.comparisons] == [False, False, True]


@pytest.mark.parametrize("cond_id", [-1, 3, 2**31 - 1, 2**32, 2**63 - 1, -(2**63)])
def test_an_id_that_is_taken_for_a_member_is_found(cond_id: int) -> None:
    ensemble, golden = known(linear)
    runner = EagerRunner(ensemble)
    inner = runner.run
    runner.run = lambda given, inputs: inner(0 if given == cond_id else given, inputs)  # type: ignore[assignment] # mypy cannot infer the lambda
    plan = Plan(members=3, batch_sizes=(1,), tolerance=TOLERANCES[Precision.FLOAT32])
    report = verify_artifact("eager", runner, ensemble.signature, golden, plan)
    assert any(f"cond_id {cond_id} returned numbers" in line for line in report.failures)


@pytest.mark.parametrize("sizes", [(2,), (8,), (1, 5)])
def test_an_artifact_of_fixed_batches_meets_every_sample(sizes: tuple[int, ...]) -> None:
    limits = Limits(batch_sizes=sizes)
    assert judged(linear, limits=limits).passed
    worst = judged(linear, fault=changed("y", lambda array: array), limits=limits)
    assert worst.passed


def test_a_missing_output_is_named() -> None:
    with pytest.raises(ParityError, match="returns no values, only classes, winner, largest"):
        judged(fault=after(lambda cond_id, inputs, outputs: outputs.pop("values")))


def test_a_float_for_an_integer_is_refused() -> None:
    with pytest.raises(ParityError, match="returns winner in float32, expected int64"):
        judged(fault=changed("winner", lambda array: array.astype(np.float32)))


def test_top1_and_margin_are_of_logits_alone() -> None:
    outputs = {output.output: output for output in judged().comparisons[0].outputs}
    assert outputs["classes"].top1_agreement == 1.0
    assert outputs["classes"].margin is not None
    assert outputs["values"].top1_agreement is None
    assert outputs["values"].margin is None
