"""`doctor` names what is wrong and how to mend it."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from thorough import first

from hnexport import doctor, installed
from hnexport.doctor import State, diagnose, wheel_findings
from hnexport.errors import ProviderError
from hnexport.machine.processor import allowed_cores
from hnexport.runtime import obstacles
from hnexport.runtime.obstacles import ASK_DOCTOR, explain


def test_two_onnxruntime_wheels_are_wrong() -> None:
    (finding,) = wheel_findings({"onnxruntime": "1.30", "onnxruntime-gpu": "1.31", "numpy": "2"})
    assert finding.state is State.WRONG
    assert "pip uninstall onnxruntime onnxruntime-gpu" in finding.remedy


@pytest.mark.parametrize(
    ("wheels", "state"),
    [({"onnxruntime-gpu": "1.31"}, State.WORKS), ({"onnxruntime-extensions": "0.14"}, State.MISSING)],
    ids=["one wheel", "no wheel"],
)
def test_one_wheel_works(wheels: dict[str, str], state: State) -> None:
    assert wheel_findings(wheels)[0].state is state


def test_the_cpu_works_and_everything_missing_has_a_remedy() -> None:
    findings = {finding.what: finding for finding in diagnose().findings}
    assert findings["onnxruntime on cpu"].state is State.WORKS
    assert all(finding.remedy for finding in findings.values() if finding.state is not State.WORKS)


def test_the_service_works_or_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor._serving()
    assert found.state is State.WORKS
    assert found.detail.startswith("starlette ")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    found = doctor._serving()
    assert (found.state, found.remedy) == (State.MISSING, 'pip install "hnexport[serve]"')


def test_without_a_driver_cuda_is_missing_and_the_diagnosis_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "read_driver", lambda: None)
    diagnosis = diagnose()
    findings = {finding.what: finding for finding in diagnosis.findings}
    assert findings["NVIDIA driver"].state is State.MISSING
    assert findings["onnxruntime on cuda"].state is State.MISSING
    assert diagnosis.sound


def test_hidden_gpus_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "read_driver", lambda: obstacles.Driver(status=100, version=99000, devices=0))
    monkeypatch.setattr(doctor, "_nvidia_smi", lambda: "NVIDIA H200, 580.1, 143771 MiB")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    diagnosis = diagnose()
    assert not diagnosis.sound
    wrong = next(finding for finding in diagnosis.findings if finding.state is State.WRONG)
    assert "unset CUDA_VISIBLE_DEVICES" in wrong.remedy


def test_the_cache_and_the_threads_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    findings = {finding.what: finding for finding in diagnose().findings}
    assert findings["cache"].state is State.MISSING
    assert "set XDG_CACHE_HOME" in findings["cache"].remedy
    assert findings["compute threads"].detail.startswith(f"{allowed_cores()} for each session")


BROKEN = {
    "raises": "raise ImportError('libonnxruntime.so.1: cannot open shared object file')",
    "empty": "",
}


def broken(folder: Path, package: str, text: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python where a package is broken."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(text)
    root = str(Path(doctor.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), root))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", first(1, BROKEN))
def test_a_broken_onnxruntime_is_one_sentence_everywhere(kind: str, tmp_path: Path) -> None:
    done = broken(tmp_path, "onnxruntime", BROKEN[kind], "-m", "hnexport", "doctor", "--json")
    assert "Traceback" not in done.stderr, done.stderr
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["onnxruntime"]["state"] == "wrong"
    assert "pip uninstall onnxruntime" in findings["onnxruntime"]["remedy"]
    code = """
import importlib, sys
from hnexport.errors import ProviderError
known = set(sys.modules)
for module in ("hnexport.runtime", "hnexport.parity", "hnexport.tune", "hnexport.build", "hnexport.bench.run"):
    for name in [name for name in sys.modules if name.startswith("hnexport.") and name not in known]:
        del sys.modules[name]
    try:
        importlib.import_module(module)
    except ProviderError as error:
        print(module, error)
"""
    (tmp_path / "again").mkdir()
    done = broken(tmp_path / "again", "onnxruntime", BROKEN[kind], "-c", code)
    said = done.stdout.splitlines()
    for module in ("runtime", "parity", "tune", "build", "bench.run"):
        found = [line for line in said if line.startswith(f"hnexport.{module} ")]
        assert [line for line in found if "installed and cannot be imported" in line], (module, done.stderr)


def test_a_wheel_whose_files_are_gone_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pip uninstall onnxruntime` where onnxruntime-gpu lay over it: pip install alone would do nothing."""
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    monkeypatch.setattr(installed, "installed_wheels", lambda: {"onnxruntime-gpu": "1.31"})
    with pytest.raises(ProviderError, match=r"files are gone.*: pip uninstall onnxruntime-gpu, then pip install"):
        installed.require_onnxruntime()
    monkeypatch.setattr(installed, "installed_wheels", dict)
    with pytest.raises(ProviderError, match="onnxruntime is not installed: pip install onnxruntime-gpu"):
        installed.require_onnxruntime()


def test_a_broken_openvino_is_one_sentence(tmp_path: Path) -> None:
    code = "from hnexport.runtime.openvino_engine import import_openvino; import_openvino()"
    done = broken(tmp_path, "openvino", "raise ImportError('libtbb.so.12: cannot open')", "-c", code)
    assert "libtbb.so.12: cannot open): pip install --force-reinstall openvino" in done.stderr


def test_the_findings_are_a_table_at_80_columns_wherever_the_cache_is() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="xx") as home:
        cache = f"{home}/hnexport"
        environment = {**os.environ, "COLUMNS": "80", "XDG_CACHE_HOME": home}
        command = [sys.executable, "-m", "hnexport", "doctor"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    _, *lines = done.stdout.splitlines()
    assert len(cache) == 24  # the longest word that is not broken
    assert cache in done.stdout
    assert lines[0].startswith("┏")
    assert max(map(len, lines)) <= 80


def test_the_doctor_does_not_send_to_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = explain("cuda", "something broke", "start")
    unknown = dataclasses.replace(unknown, remedy=ASK_DOCTOR)
    monkeypatch.setattr("hnexport.runtime.trial.obstacle", lambda provider: unknown if provider == "cuda" else None)
    found = next(finding for finding in diagnose().findings if finding.what == "onnxruntime on cuda")
    assert found.remedy == "choose another provider: the CPU always works"
    assert all("doctor" not in finding.remedy for finding in diagnose().findings)
