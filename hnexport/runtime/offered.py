"""Which execution providers onnxruntime has here, by our short names: those built in, and those that plugins bring.

A plugin is a library that onnxruntime loads at run time. Wheels such as `onnxruntime-ep-webgpu` bring one and say where
it is; it is registered when its provider is first asked for by name. What an application registered itself, with
`onnxruntime.register_execution_provider_library`, is offered too.
"""

import contextlib
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import onnxruntime

from hnexport.interrupts import Interrupted, interrupts_kept
from hnexport.reading import shown
from hnexport.text import shorten

__all__ = [
    "KNOWN",
    "KnownProvider",
    "Plugin",
    "execution_provider",
    "installed_plugins",
    "offered",
    "plugin_devices",
    "plugin_libraries",
    "plugin_of",
    "register_plugin",
]

_SUFFIX = "ExecutionProvider"
_REMOTE = ("AzureExecutionProvider",)  # calls a service, computes nothing here
_PLUGIN_WHEELS = re.compile(r"onnxruntime[-_.](ep[-_.].+|qnn)", re.IGNORECASE)
_PROVIDERS = re.compile(rf"[A-Za-z]\w*{_SUFFIX}", re.ASCII)
_LIBRARY = "library_path"  # of a device's metadata, where a plugin brought it


@dataclass(frozen=True, kw_only=True)
class KnownProvider:
    """What is known of a provider.

    Attributes:
        name: onnxruntime's.
        remedy: what to type where it is not there.
        strict: options with which it computes in float32 where it would not by itself.
        keeps_nan: whether its operators pass a NaN on.
        id_bits: width to which it cuts an int64 input.
    """

    name: str
    remedy: str = "install an onnxruntime that was built with it"
    strict: Mapping[str, str] = field(default_factory=dict)
    keeps_nan: bool = True
    id_bits: int = 64


_F32 = '{"INFERENCE_PRECISION_HINT": "f32"}'
KNOWN: Mapping[str, KnownProvider] = MappingProxyType(
    {
        "cpu": KnownProvider(name="CPUExecutionProvider"),
        "cuda": KnownProvider(
            name="CUDAExecutionProvider",
            remedy="pip uninstall onnxruntime, then pip install onnxruntime-gpu",
            strict={"use_tf32": "0"},
        ),
        "tensorrt": KnownProvider(
            name="TensorrtExecutionProvider",
            remedy="pip uninstall onnxruntime, then pip install onnxruntime-gpu and tensorrt",
        ),
        "directml": KnownProvider(
            name="DmlExecutionProvider",
            remedy="pip uninstall onnxruntime, then pip install onnxruntime-directml (Windows)",
        ),
        "coreml": KnownProvider(name="CoreMLExecutionProvider", remedy="pip install onnxruntime (macOS)"),
        "migraphx": KnownProvider(
            name="MIGraphXExecutionProvider",
            remedy="pip uninstall onnxruntime, then pip install onnxruntime-migraphx (AMD GPUs, Linux)",
        ),
        "webgpu": KnownProvider(
            name="WebGpuExecutionProvider",
            remedy="pip install onnxruntime-ep-webgpu, or onnxruntime-webgpu in onnxruntime's place",
            keeps_nan=False,  # WGSL's max
        ),
        "openvino": KnownProvider(
            name="OpenVINOExecutionProvider",
            remedy="pip install onnxruntime-ep-openvino; or give engine='openvino'",
            strict={"load_config": f'{{"CPU": {_F32}, "GPU": {_F32}}}'},
            keeps_nan=False,
            id_bits=32,
        ),
        "qnn": KnownProvider(name="QNNExecutionProvider", remedy="pip install onnxruntime-qnn (Snapdragon)"),
        "tensorrt-rtx": KnownProvider(
            name="NvTensorRTRTXExecutionProvider", remedy="pip install onnxruntime-ep-nv-tensorrt-rtx"
        ),
    }
)
"""The providers of which something is known, by our short names."""

_SHORT = {known.name: short for short, known in KNOWN.items()}


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An installed wheel that brings providers as a library.

    Attributes:
        wheel: its name and version.
        library: the path of the library; "" where the wheel cannot say.
        providers: onnxruntime's names of what it brings.
        fault: why it cannot be used; "" where nothing is known to be wrong.
    """

    wheel: str
    library: str = ""
    providers: tuple[str, ...] = ()
    fault: str = ""


def execution_provider(provider: str) -> str:
    """Onnxruntime's name of a provider."""
    if provider in KNOWN:
        return KNOWN[provider].name
    return next((name for name in _names() if _short(name) == provider), provider)


def offered() -> tuple[str, ...]:
    """What may be named here, in the order of `KNOWN`, then what is not known: built in, registered, or installed."""
    found = {_short(name) for name in _names()}
    return (*(short for short in KNOWN if short in found), *sorted(found.difference(KNOWN)))


def installed_plugins() -> tuple[Plugin, ...]:
    """The wheels that bring providers as libraries: `onnxruntime-ep-…` and `onnxruntime-qnn`."""
    found: dict[str, Plugin | None] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name and _PLUGIN_WHEELS.fullmatch(name):
            found.setdefault(name.lower(), _plugin(name, distribution.version))
    return tuple(plugin for plugin in found.values() if plugin is not None)


def plugin_of(provider: str) -> Plugin | None:
    """The installed plugin that brings a provider."""
    name = execution_provider(provider)
    return next((plugin for plugin in installed_plugins() if name in plugin.providers), None)


def register_plugin(library: str, provider: str) -> None:
    """Let onnxruntime load a plugin, unless it was loaded before; it raises what it likes."""
    if not plugin_devices(provider):
        onnxruntime.register_execution_provider_library(execution_provider(provider), library)


def plugin_devices(provider: str) -> list[Any]:
    """The devices that registered plugins have for a provider; none where it is built in."""
    name, built_in = execution_provider(provider), onnxruntime.get_available_providers()
    devices = [device for device in _devices() if device.ep_name == name]
    return [device for device in devices if _LIBRARY in device.ep_metadata or name not in built_in]


def plugin_libraries(provider: str) -> tuple[str, ...]:
    """The libraries of registered plugins that have a device for a provider."""
    found = (dict(device.ep_metadata).get(_LIBRARY) for device in plugin_devices(provider))
    return tuple(dict.fromkeys(library for library in found if library))


def _names() -> tuple[str, ...]:
    """Onnxruntime's names of everything that may be had."""
    registered = [device.ep_name for device in _devices()]
    installed = [name for plugin in installed_plugins() for name in plugin.providers]
    names = dict.fromkeys((*onnxruntime.get_available_providers(), *registered, *installed))
    return tuple(name for name in names if name.endswith(_SUFFIX) and name not in _REMOTE)


def _short(name: str) -> str:
    return _SHORT.get(name, name.removesuffix(_SUFFIX).lower())


def _devices() -> list[Any]:
    ask = getattr(onnxruntime, "get_ep_devices", None)  # since 1.23
    return list(ask()) if ask is not None else []


def _plugin(name: str, version: str) -> Plugin | None:
    """What a wheel brings; None where it is no plugin, as those are not that only require another."""
    module, wheel = re.sub(r"[-.]", "_", name).lower(), f"{name} {version}"
    if find_spec(module) is None:
        return None
    try:
        with interrupts_kept(), contextlib.redirect_stdout(sys.stderr):  # what we print may be JSON
            found = importlib.import_module(module)
        if not hasattr(found, "get_library_path"):
            return None
        names = found.get_ep_names() if hasattr(found, "get_ep_names") else found.get_ep_name()
        names = (names,) if isinstance(names, str) else tuple(names)
        if not all(isinstance(name, str) and _PROVIDERS.fullmatch(name) for name in names):
            return Plugin(wheel=wheel, fault=f"it says that it brings {shown(names)}, which are no names of providers")
        return Plugin(wheel=wheel, library=str(found.get_library_path()), providers=names)
    except Interrupted:
        raise
    except (Exception, SystemExit) as error:  # a wheel's own code may raise anything
        return Plugin(wheel=wheel, fault=shorten(error) or type(error).__name__)
