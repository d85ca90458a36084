"""Every fault that is planted is caught, and nothing that is correct is accused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from faults import ONNX_FAULTS, Fault

from hnexport.errors import BundleError, ParityError
from hnexport.parity import VerifyOptions, verify


def is_caught(bundle: Path, artifact: str) -> bool:
    try:
        return not verify(bundle, VerifyOptions(artifacts=(artifact,))).passed
    except (BundleError, ParityError):
        return True


@pytest.mark.parametrize("fault", ONNX_FAULTS, ids=str)
def test_verify_catches(fault: Fault, copied: Callable[[str], Path]) -> None:
    bundle = copied(fault.kind)
    fault.plant(bundle)
    assert is_caught(bundle, fault.artifact)


@pytest.mark.parametrize("kind", ["hypernet", "batch-ensemble", "pixels"])
def test_verify_accuses_no_correct_artifact(kind: str, pristine: Callable[[str], Path]) -> None:
    report = verify(pristine(kind))
    assert report.passed, [artifact.failures for artifact in report.artifacts]
