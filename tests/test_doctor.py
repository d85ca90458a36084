"""`doctor` names what is wrong and how to mend it."""

import pytest

from hnexport import doctor
from hnexport.doctor import State, diagnose, wheel_findings


def test_two_onnxruntime_wheels_are_wrong() -> None:
    (finding,) = wheel_findings({"onnxruntime": "1.30", "onnxruntime-gpu": "1.31", "numpy": "2"})
    assert finding.state is State.WRONG
    assert "pip uninstall onnxruntime onnxruntime-gpu" in finding.remedy


@pytest.mark.parametrize(
    ("installed", "state"),
    [({"onnxruntime-gpu": "1.31"}, State.WORKS), ({"onnxruntime-extensions": "0.14"}, State.MISSING)],
    ids=["one wheel", "no wheel"],
)
def test_one_wheel_works(installed: dict[str, str], state: State) -> None:
    assert wheel_findings(installed)[0].state is state


def test_the_cpu_works_and_everything_missing_has_a_remedy() -> None:
    findings = {finding.what: finding for finding in diagnose().findings}
    assert findings["onnxruntime on cpu"].state is State.WORKS
    assert all(finding.remedy for finding in findings.values() if finding.state is not State.WORKS)


def test_without_a_driver_cuda_is_missing_and_the_diagnosis_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "can_load", lambda library: False)
    monkeypatch.setattr("hnexport.parity.providers.can_load", lambda library: False)
    diagnosis = diagnose()
    findings = {finding.what: finding for finding in diagnosis.findings}
    assert findings["NVIDIA driver"].state is State.MISSING
    assert findings["onnxruntime on cuda"].state is State.MISSING
    assert diagnosis.sound


def test_hidden_gpus_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "can_load", lambda library: True)
    monkeypatch.setattr(doctor, "_nvidia_smi", lambda: "NVIDIA H200, 580.1, 143771 MiB")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    diagnosis = diagnose()
    assert not diagnosis.sound
    wrong = next(finding for finding in diagnosis.findings if finding.state is State.WRONG)
    assert wrong.remedy == "unset CUDA_VISIBLE_DEVICES"
