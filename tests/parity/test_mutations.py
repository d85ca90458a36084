"""Every fault that is planted is caught, and nothing that is correct is accused."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import reseed, small_spec, trained_tensors
from ensembles import of_pipeline
from faults import ONNX_FAULTS, Fault
from seeds import seeds
from thorough import only
from torch_faults import TORCH_FAULTS

from hnexport.errors import BundleError, ParityError
from hnexport.export import Capture, capture
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate

FAULTS = (*ONNX_FAULTS, *TORCH_FAULTS)
READABLE = [fault for fault in FAULTS if not fault.unreadable]


@pytest.mark.parametrize(
    "fault", only(READABLE, *{fault.name: fault for fault in reversed(READABLE)}.values()), ids=str
)
def test_verify_catches_and_locate_places(fault: Fault, copied: Callable[[str], Path]) -> None:
    bundle = copied(fault.kind)
    fault.plant(bundle)
    report = verify(bundle, VerifyOptions(artifacts=(fault.artifact,), trust=True))
    assert not report.passed
    assert report.artifacts[0].failures
    if fault.place is not None:
        located = locate(bundle, fault.artifact, trust=True)
        assert located.first is not None
        assert (located.stage, located.first.place) == (fault.stage, fault.place)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.unreadable], ids=str)
def test_verify_refuses(fault: Fault, copied: Callable[[str], Path]) -> None:
    bundle = copied(fault.kind)
    fault.plant(bundle)
    with pytest.raises((BundleError, ParityError)):
        verify(bundle, VerifyOptions(artifacts=(fault.artifact,), trust=True))


def test_at_least_25_different_faults_are_planted() -> None:
    assert len({fault.name for fault in FAULTS}) >= 25


@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble", "pixels"])
def test_verify_accuses_no_correct_artifact(kind: str, pristine: Callable[[str], Path]) -> None:
    report = verify(pristine(kind))
    assert report.passed, [artifact.failures for artifact in report.artifacts]


@pytest.fixture(scope="module")
def captured_kind() -> Callable[[str], Capture]:
    return functools.cache(
        lambda kind: capture(of_pipeline(Pipeline(small_spec(kind), trained_tensors(small_spec(kind)))))
    )


@pytest.mark.each_once
@pytest.mark.parametrize("seed", seeds(3, 10))
@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble"])
def test_verify_accuses_no_correct_artifact_with_other_weights(
    kind: str, seed: int, copied: Callable[[str], Path], captured_kind: Callable[[str], Capture]
) -> None:
    bundle = copied(kind)
    reseed(bundle, captured_kind(kind), seed + 1)
    report = verify(bundle, VerifyOptions(trust=True))
    assert report.passed, [artifact.failures for artifact in report.artifacts]
