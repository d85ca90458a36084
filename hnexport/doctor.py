"""`doctor`: what this machine can run, what is missing, and the remedy, in plain words."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnxruntime
import torch

from hnexport.parity.other_runners import has_openvino
from hnexport.parity.providers import ONNX_PROVIDERS, can_load, obstacle

__all__ = ["Diagnosis", "Finding", "State", "diagnose", "wheel_findings"]

_CUDA_LIBRARIES = {
    "cuDNN 9": ("libcudnn.so.9", "pip install nvidia-cudnn-cu12, or pip install 'onnxruntime-gpu[cuda,cudnn]'"),
    "cuBLAS": ("libcublas.so", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
}


class State(StrEnum):
    """How things stand."""

    WORKS = "works"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where nothing is to be done."""

    what: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything that was looked at. Only what is wrong, and not what is merely missing, makes it unsound."""

    machine: str
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing contradicts itself."""
        return all(finding.state is not State.WRONG for finding in self.findings)


def diagnose() -> Diagnosis:
    """Look at wheels, drivers, libraries and providers; runs nothing on a GPU."""
    return Diagnosis(
        machine=f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} logical CPUs",
        findings=(
            *wheel_findings(_installed()),
            Finding(
                what="PyTorch", state=State.WORKS, detail=f"{torch.__version__}, {torch.get_num_threads()} threads"
            ),
            _driver(),
            *_libraries(),
            *(_provider(name) for name in ONNX_PROVIDERS),
            _openvino(),
        ),
    )


def wheel_findings(installed: Mapping[str, str]) -> tuple[Finding, ...]:
    """Judge the onnxruntime wheels: two of them overwrite each other's files.

    Args:
        installed: versions by distribution name.
    """
    wheels = {name: version for name, version in installed.items() if name.startswith("onnxruntime")}
    runtimes = {name: version for name, version in wheels.items() if name in _RUNTIME_WHEELS}
    held = ", ".join(f"{name} {version}" for name, version in sorted(runtimes.items()))
    what = "onnxruntime wheel"
    if len(runtimes) > 1:
        others = " ".join(sorted(runtimes))
        remedy = f"pip uninstall {others}, then install one: pip install onnxruntime-gpu (it has the CPU provider too)"
        detail = f"{held} are both installed and overwrite each other: which providers there are is chance"
        return (Finding(what=what, state=State.WRONG, detail=detail, remedy=remedy),)
    if not runtimes:
        return (Finding(what=what, state=State.MISSING, detail="none", remedy="pip install onnxruntime-gpu"),)
    return (Finding(what=what, state=State.WORKS, detail=held),)


_RUNTIME_WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm")


def _installed() -> dict[str, str]:
    names = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            names[name.lower().replace("_", "-")] = distribution.version
    return names


def _driver() -> Finding:
    what, library = "NVIDIA driver", "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    if not can_load(library):
        remedy = "needed for CUDA only: install the driver, or start the container with --gpus all"
        return Finding(what=what, state=State.MISSING, detail=f"{library} cannot be loaded", remedy=remedy)
    shown = _nvidia_smi() or "loaded"
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        remedy = "unset CUDA_VISIBLE_DEVICES"
        return Finding(what=what, state=State.WRONG, detail=f"{shown}, but every GPU is hidden", remedy=remedy)
    return Finding(what=what, state=State.WORKS, detail=shown)


def _nvidia_smi() -> str | None:
    """Name, driver and memory of each GPU, as `nvidia-smi` has them."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run([command, *query], capture_output=True, text=True, timeout=30, check=False)
    return "; ".join(done.stdout.split("\n")).strip("; ") if done.returncode == 0 else None


def _libraries() -> tuple[Finding, ...]:
    """CUDA's libraries as onnxruntime loads them; PyTorch's wheels bring their own."""
    if sys.platform != "linux" or obstacle("cuda") is not None:
        return ()
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    findings = []
    for what, (library, remedy) in _CUDA_LIBRARIES.items():
        found = can_load(library) or can_load(f"{library}.12") or can_load(f"{library}.13")
        state = State.WORKS if found else State.MISSING
        detail = library if found else f"{library} cannot be loaded"
        findings.append(Finding(what=what, state=state, detail=detail, remedy="" if found else remedy))
    return tuple(findings)


def _provider(provider: str) -> Finding:
    what = f"onnxruntime on {provider}"
    reason = obstacle(provider)
    if reason is None:
        return Finding(what=what, state=State.WORKS, detail=f"onnxruntime {onnxruntime.__version__}")
    detail, _, remedy = reason.partition(": ")
    return Finding(what=what, state=State.MISSING, detail=detail, remedy=remedy)


def _openvino() -> Finding:
    if not has_openvino():
        remedy = "pip install 'hnexport[openvino]'"
        return Finding(what="OpenVINO", state=State.MISSING, detail="not installed", remedy=remedy)
    return Finding(what="OpenVINO", state=State.WORKS, detail=importlib.metadata.version("openvino"))
