"""Every fault that is planted is caught, and nothing that is correct is accused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import reseed, small_spec, trained_tensors
from ensembles import of_pipeline
from faults import ONNX_FAULTS, Fault
from torch_faults import TORCH_FAULTS

from hnexport.errors import BundleError, ParityError
from hnexport.export import capture
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate

FAULTS = (*ONNX_FAULTS, *TORCH_FAULTS)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.unreadable], ids=str)
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


@pytest.mark.parametrize(("kind", "seeds"), [("hypernet", range(1, 11)), ("batch-ensemble", range(11, 21))])
def test_verify_accuses_no_correct_artifact_with_20_seeds(
    kind: str, seeds: range, copied: Callable[[str], Path]
) -> None:
    bundle, spec = copied(kind), small_spec(kind)
    captured = capture(of_pipeline(Pipeline(spec, trained_tensors(spec))))
    for seed in seeds:
        reseed(bundle, captured, seed)
        report = verify(bundle, VerifyOptions(trust=True))
        assert report.passed, (seed, [artifact.failures for artifact in report.artifacts])
