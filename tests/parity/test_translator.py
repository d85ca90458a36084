"""A transformer of several inputs, outputs and open axes: every fault in its files is found, and no correct one is."""

import shutil
from pathlib import Path

import pytest
import translator
from thorough import only
from translator_faults import TRANSLATOR_FAULTS, TranslatorFault

from hnexport.bundle import read_golden
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate
from hnexport.parity.results import Verdict

pytestmark = pytest.mark.thorough  # the transformer takes twelve seconds to build; test_mutations shows the kinds

EACH_KIND = [*{(fault.artifact, fault.stage): fault for fault in reversed(TRANSLATOR_FAULTS)}.values()]


@pytest.mark.parametrize("fault", only(TRANSLATOR_FAULTS, *EACH_KIND), ids=str)
def test_verify_catches_and_locate_places(fault: TranslatorFault, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(translator.bundle(), tmp_path / "bundle"))
    fault.plant(bundle)
    report = verify(bundle, VerifyOptions(artifacts=(fault.artifact,)))
    assert report.verdict is Verdict.DIFFERENT
    assert report.artifacts[0].failures
    assert all(claim.passed for claim in report.claims), "what differs is said once"
    if fault.place is not None:
        located = locate(bundle, fault.artifact)
        assert located.first is not None
        assert (located.stage, located.first.place) == (fault.stage, fault.place)


def test_verify_accuses_nothing_that_is_correct() -> None:
    report = verify(translator.bundle(), VerifyOptions(trust=True))
    assert report.verdict is Verdict.SAME, [artifact.failures for artifact in report.artifacts]
    checked = {
        artifact.artifact for artifact in report.artifacts for check in artifact.checks if "time = 5" in check.detail
    }
    assert checked == {artifact.artifact for artifact in report.artifacts}


def test_samples_of_another_size_are_kept_beside_the_others() -> None:
    golden = read_golden(translator.bundle())
    assert golden.resized is not None
    assert {name: array.shape for name, array in golden.resized.inputs.items()} == {
        "tokens": (3, 5),
        "weighting": (3, 5),
    }
    assert golden.inputs["tokens"].shape[1] == translator.LENGTH
