"""`doctor`: what this machine can run, what is missing, and the remedy, in plain words."""

import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hnexport.errors import HnexportError, OnnxruntimeMissingError
from hnexport.installed import (
    COMPLETE,
    RUNTIME_WHEELS,
    installed_wheels,
    missing_for_building,
    require_onnxruntime,
)
from hnexport.interrupts import interrupts_kept
from hnexport.machine.control_group import cpu_quota
from hnexport.machine.processor import allowed_cores, integer_products, logical_processors, usable_processors
from hnexport.text import number_of

if TYPE_CHECKING:
    from hnexport.runtime.offered import Plugin

__all__ = ["Diagnosis", "Finding", "State", "diagnose", "wheel_findings"]

_ALWAYS = ("cpu", "cuda", "tensorrt")  # providers that are looked at even where they are not built in


class State(StrEnum):
    """How things stand."""

    WORKS = "works"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where nothing is to be done.

    Attributes:
        what: its name.
        state: how things stand.
        detail: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    what: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Everything that was looked at. Only what is wrong, and not what is merely missing, makes it unsound.

    Attributes:
        machine: Python, system and processors, in words.
        findings: what was looked at, one by one.
    """

    machine: str
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing contradicts itself."""
        return all(finding.state is not State.WRONG for finding in self.findings)


def diagnose() -> Diagnosis:
    """Look at wheels, drivers, libraries and providers; a provider that nothing speaks against computes 3 times 3.

    Every library is imported only here, so that a broken one is a finding.
    """
    return Diagnosis(
        machine=f"Python {platform.python_version()}, {platform.platform()}, {logical_processors()} logical CPUs",
        findings=(*wheel_findings(installed_wheels()), _torch(), *_onnxruntime(), _openvino(), _serving(), _cache()),
    )


def _torch() -> Finding:
    missing = missing_for_building()
    if missing:
        detail = f"hnexport-runtime is alone: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        remedy = f"{COMPLETE} (to build, verify, locate, tune and bench)"
        return Finding(what="PyTorch", state=State.MISSING, detail=detail, remedy=remedy)
    try:
        with interrupts_kept():
            import torch
    except Exception as error:  # a broken installation may raise anything
        detail = f"cannot be imported: {error}"
        return Finding(what="PyTorch", state=State.WRONG, detail=detail, remedy="pip install --force-reinstall torch")
    detail = f"{torch.__version__}, {number_of(torch.get_num_threads(), 'thread')}"
    detail += ", with CUDA" if torch.cuda.is_available() else ", on the CPU only"
    return Finding(what="PyTorch", state=State.WORKS, detail=detail)


def _onnxruntime() -> tuple[Finding, ...]:
    """What onnxruntime can do here, or why it cannot be imported."""
    try:
        require_onnxruntime()
    except HnexportError as error:
        detail, _, remedy = str(error).rpartition(": ")
        return (Finding(what="onnxruntime", state=State.WRONG, detail=detail, remedy=remedy),)
    from hnexport.runtime.offered import installed_plugins, offered

    shown = dict.fromkeys((*_ALWAYS, *offered()))
    plugins = [_broken_plugin(plugin) for plugin in installed_plugins() if plugin.fault]
    return (_threads(), _int8(), _driver(), *(_provider(name) for name in shown), *plugins)


def _threads() -> Finding:
    quota = cpu_quota()
    limit = "" if quota is None else f", with a quota of {quota:g} processors"
    detail = f"{allowed_cores()} for each session: of {logical_processors()} logical CPUs this process may use "
    detail += str(usable_processors())
    return Finding(what="compute threads", state=State.WORKS, detail=detail + limit)


def _int8() -> Finding:
    found = integer_products()
    if found is None:
        detail = "the system does not say whether the processor has instructions for it"
    elif found:
        detail = f"the processor multiplies it with {', '.join(found)}"
    else:
        detail = "the processor has neither VNNI nor AMX: kernels that do not saturate are taken, which are slower"
    return Finding(what="int8", state=State.WORKS, detail=detail)


def _cache() -> Finding:
    try:
        from hnexport.runtime.cache import cache_folder, require_cache

        require_cache()
    except OnnxruntimeMissingError as error:
        return Finding(what="cache", state=State.MISSING, detail="not looked at", remedy=str(error))
    except HnexportError as error:
        detail, _, remedy = str(error).rpartition("; ")
        remedy += " (only `hnexport tune` needs it)"
        return Finding(what="cache", state=State.MISSING, detail=detail, remedy=remedy)
    return Finding(what="cache", state=State.WORKS, detail=str(cache_folder()))


def wheel_findings(installed: Mapping[str, str]) -> tuple[Finding, ...]:
    """Judge the onnxruntime wheels: two of them overwrite each other's files.

    Args:
        installed: versions by distribution name.
    """
    runtimes = {name: version for name, version in installed.items() if name in RUNTIME_WHEELS}
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


def _driver() -> Finding:
    from hnexport.runtime.obstacles import driver_obstacle, read_driver

    what, driver = "NVIDIA driver", read_driver()
    found = driver_obstacle(driver)
    if driver is None and found is not None:
        return Finding(what=what, state=State.MISSING, detail=found.what, remedy=f"for CUDA only: {found.remedy}")
    shown = _nvidia_smi() or "loaded"
    if found is not None:
        return Finding(what=what, state=State.WRONG, detail=f"{shown}, but {found.what}", remedy=found.remedy)
    return Finding(what=what, state=State.WORKS, detail=shown)


def _nvidia_smi() -> str | None:
    """Name, driver and memory of each GPU, as `nvidia-smi` has them."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(
        [command, *query], capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False
    )
    return "; ".join(done.stdout.split("\n")).strip("; ") if done.returncode == 0 else None


def _broken_plugin(plugin: "Plugin") -> Finding:
    remedy = f"pip install --force-reinstall {plugin.wheel.partition(' ')[0]}"
    return Finding(what=plugin.wheel, state=State.WRONG, detail=f"it cannot be used: {plugin.fault}", remedy=remedy)


def _provider(provider: str) -> Finding:
    import onnxruntime

    from hnexport.runtime.obstacles import ASK_DOCTOR
    from hnexport.runtime.offered import execution_provider, plugin_of
    from hnexport.runtime.trial import obstacle

    what, found = f"onnxruntime on {provider}", obstacle(provider)
    if found is None:
        built_in = execution_provider(provider) in onnxruntime.get_available_providers()
        plugin = None if built_in else plugin_of(provider)
        brought = "" if plugin is None else f", plugin {plugin.wheel}"
        return Finding(what=what, state=State.WORKS, detail=f"onnxruntime {onnxruntime.__version__}{brought}")
    remedy = found.remedy
    if remedy == ASK_DOCTOR:
        plugin = plugin_of(provider)
        brought = "" if plugin is None else f"pip install --force-reinstall {plugin.wheel.partition(' ')[0]}, or "
        remedy = f"{brought}choose another provider: the CPU always works"
    return Finding(what=what, state=State.MISSING, detail=found.what, remedy=remedy)


def _openvino() -> Finding:
    try:
        from hnexport.runtime.openvino_engine import import_openvino

        openvino = import_openvino()
    except HnexportError as error:
        detail, _, remedy = str(error).partition(": ")
        broken = find_spec("openvino") is not None
        state = State.WRONG if broken else State.MISSING
        return Finding(what="OpenVINO", state=state, detail=detail, remedy=remedy)
    version = openvino.get_version().partition("-")[0]
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    half = [name for name, said in (("bfloat16", "BF16"), ("float16", "FP16")) if said in able]
    return Finding(
        what="OpenVINO",
        state=State.WORKS,
        detail=f"{version}; computes in {' and '.join(half)} too" if half else f"{version}; no half precision here",
    )


def _serving() -> Finding:
    """Whether `hnexport serve` has what it needs."""
    what, needed = "hnexport serve", ("starlette", "uvicorn", "prometheus_client")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        whole = "hnexport-runtime" if missing_for_building() else "hnexport"
        verb = "is" if len(missing) == 1 else "are"
        detail = f"{', '.join(missing)} {verb} not installed"
        return Finding(what=what, state=State.MISSING, detail=detail, remedy=f'pip install "{whole}[serve]"')
    try:
        with interrupts_kept():
            import starlette
            import uvicorn
    except Exception as error:  # a broken installation may raise anything
        remedy = "pip install --force-reinstall starlette uvicorn"
        return Finding(what=what, state=State.WRONG, detail=f"cannot be imported: {error}", remedy=remedy)
    detail = f"starlette {starlette.__version__}, uvicorn {uvicorn.__version__}"
    return Finding(what=what, state=State.WORKS, detail=detail)
