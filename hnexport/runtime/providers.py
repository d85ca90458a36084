"""The one way to open an onnxruntime session: on exactly the provider that was asked for, or an error."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnxruntime

from hnexport.bundle.sessions import SessionSource, session_source
from hnexport.errors import BundleError, HnexportError, ProviderError
from hnexport.runtime.libraries import preload_cuda
from hnexport.runtime.obstacles import NVIDIA, Obstacle, explain, quick_obstacle
from hnexport.runtime.offered import (
    KNOWN,
    execution_provider,
    offered,
    plugin_devices,
    plugin_of,
    register_plugin,
)
from hnexport.spelling import spelled

__all__ = [
    "UnusableProviderError",
    "check_provider_name",
    "open_session",
    "require_device",
    "running_bundle",
    "running_on",
]

logger = logging.getLogger(__name__)

_NO_CPU = "session.disable_cpu_ep_fallback"
_NO_DEVICE_REMEDY = "install the driver of its device (for WebGPU on Linux the Vulkan loader, libvulkan1, too)"
_SILENT = 4  # onnxruntime's severity: what goes wrong becomes an error, and is not written to stderr besides


class UnusableProviderError(ProviderError):
    """A provider that cannot be had here.

    Attributes:
        obstacle: what stands in the way, and what to do about it.
    """

    def __init__(self, provider: str, obstacle: Obstacle) -> None:
        super().__init__(
            f"provider {provider!r} cannot be had: {obstacle.what}; {obstacle.remedy}, "
            "or choose " + spelled("provider='cpu'", "--provider cpu")
        )
        self.obstacle = obstacle


def check_provider_name(provider: str) -> None:
    """Refuse a name that stands for no provider.

    Raises:
        ProviderError: with the names there are.
    """
    if not isinstance(provider, str) or (provider not in ("auto", *KNOWN) and provider not in offered()):
        names = ", ".join(dict.fromkeys(("auto", *KNOWN, *offered())))
        raise ProviderError(f"unknown provider {provider!r}: choose one of {names}")


def require_device(provider: str, device: int = 0) -> None:
    """Refuse a provider that this onnxruntime was built without, or whose driver or GPU is missing.

    Raises:
        ProviderError: with what is missing, and its remedy.
    """
    found = quick_obstacle(provider, device)
    if found is not None:
        raise UnusableProviderError(provider, found)


@contextlib.contextmanager
def running_on(provider: str, doing: str = "compute") -> Iterator[None]:
    """Turn what onnxruntime raises while it starts or runs on an accelerator into a `ProviderError` with the remedy.

    A provider may start without all of its libraries, and first miss them when it runs: cuDNN is loaded so.
    """
    try:
        yield
    except HnexportError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common root
        if provider == "cpu":
            raise
        raise UnusableProviderError(provider, explain(provider, str(error), doing)) from error


@contextlib.contextmanager
def running_bundle(provider: str) -> Iterator[None]:
    """As `running_on`; what fails on the CPU, where nothing can be missing, is the fault of the bundle's graph.

    Raises:
        ProviderError, BundleError: onnxruntime does not run the graph.
    """
    try:
        with running_on(provider):
            yield
    except (HnexportError, MemoryError):
        raise
    except Exception as error:  # onnxruntime's exceptions have no common root
        raise BundleError(
            f"onnxruntime {onnxruntime.__version__} cannot run the bundle's graph: {error}; build the bundle again"
        ) from error


def open_session(
    model: Path | bytes,
    options: onnxruntime.SessionOptions,
    provider: str,
    provider_options: Mapping[str, str] = MappingProxyType({}),
    *,
    fold: bool = True,
    proving: bool = False,
) -> onnxruntime.InferenceSession:
    """A session that runs on exactly this provider, with onnxruntime's options of that provider.

    Args:
        model: a file, or its bytes.
        fold: whether onnxruntime computes constants when it loads the graph. It would keep a float32 copy of every
            basis that is stored in fewer bits; without, a basis is made in each run, and only then.
        proving: first refuse every node on the CPU; only where that fails are they allowed, and a profile then says
            which they are.

    Raises:
        ProviderError: onnxruntime has no such provider, its libraries or its device are missing, or it did not start.
        BundleError: onnxruntime cannot read the file.
    """
    settings = {**(KNOWN[provider].strict if provider in KNOWN else {}), **provider_options}
    require_device(provider, int(settings.get("device_id", 0)))
    options.log_severity_level = _SILENT
    if provider == "cpu":
        return _started(model, options, provider, settings, fold=fold, proving=proving)
    if provider in NVIDIA:
        preload_cuda()
    with _quiet():
        return _started(model, options, provider, settings, fold=fold, proving=proving)


def _started(
    model: Path | bytes,
    options: onnxruntime.SessionOptions,
    provider: str,
    settings: Mapping[str, str],
    *,
    fold: bool,
    proving: bool,
) -> onnxruntime.InferenceSession:
    if proving and provider != "cpu":
        options.add_session_config_entry(_NO_CPU, "1")
        try:
            session = _create(model, options, provider, settings, fold=fold)
        except Exception as error:  # onnxruntime's exceptions have no common root
            logger.info("%s: some nodes need the CPU: %s", _name(model), error)
            options.add_session_config_entry(_NO_CPU, "0")
        else:
            return _on_provider(session, provider)
    try:
        with running_on(provider, f"load {_name(model)}"):
            session = _create(model, options, provider, settings, fold=fold)
    except HnexportError:
        raise
    except Exception as error:  # on the CPU: there is nothing that could be missing
        raise BundleError(
            f"onnxruntime {onnxruntime.__version__} cannot load {_name(model, whole=True)}: {error}; "
            "build the bundle again, or use the onnxruntime of the manifest's versions"
        ) from error
    return _on_provider(session, provider)


def _on_provider(session: onnxruntime.InferenceSession, provider: str) -> onnxruntime.InferenceSession:
    """The session, if onnxruntime did not silently take another provider because this one did not start."""
    running = session.get_providers()[0]
    if running != execution_provider(provider):
        found = explain(provider, "", "start")
        what = f"it did not start, onnxruntime fell back to {running}: {found.what}"
        raise UnusableProviderError(provider, Obstacle(what=what, remedy=found.remedy))
    return session


def _create(
    model: Path | bytes,
    options: onnxruntime.SessionOptions,
    provider: str,
    provider_options: Mapping[str, str],
    *,
    fold: bool,
) -> onnxruntime.InferenceSession:
    arguments: dict[str, Any] = {"enable_fallback": 0}
    devices = _plugin_devices(provider)
    if not devices:
        arguments["providers"] = [(execution_provider(provider), dict(provider_options))]
    elif not options.has_providers():  # a second try with the same options
        options.add_provider_for_devices(devices[:1], dict(provider_options))
    if not fold:  # at the highest level constants are folded whatever is disabled
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        arguments["disabled_optimizers"] = ["ConstantFolding"]
    source = SessionSource(model=model) if isinstance(model, bytes) else session_source(model, options)
    try:
        return onnxruntime.InferenceSession(source.model, options, **arguments)
    except RuntimeError as error:
        # An application that called onnxruntime.set_global_thread_pool_sizes shares that pool among all its sessions.
        if "use_per_session_threads" not in str(error):
            raise
        options.use_per_session_threads = False
        options.intra_op_num_threads = 0  # a number of its own would only be warned about
        return onnxruntime.InferenceSession(source.model, options, **arguments)


def _plugin_devices(provider: str) -> list[Any]:
    """The devices of a plugin's provider, which is registered first; none where the provider is built in.

    Raises:
        ProviderError: onnxruntime cannot load the plugin, or it finds no device.
    """
    if provider in ("cpu", *NVIDIA):  # onnxruntime's own; no device need be looked for
        return []
    if execution_provider(provider) in onnxruntime.get_available_providers() and not plugin_devices(provider):
        return []
    plugin = plugin_of(provider)
    if plugin is not None:
        with running_on(provider, f"load the plugin {plugin.wheel}"):
            register_plugin(plugin.library, provider)
    devices = plugin_devices(provider)
    if not devices:
        what = f"the plugin {plugin.wheel if plugin else ''} finds no device here"
        raise UnusableProviderError(provider, Obstacle(what=what, remedy=_NO_DEVICE_REMEDY))
    return devices


def _name(model: Path | bytes, *, whole: bool = False) -> str:
    if isinstance(model, bytes):
        return "a graph in memory"
    return str(model) if whole else model.name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime from writing to stderr what becomes an error's message."""
    onnxruntime.set_default_logger_severity(_SILENT)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # its default; it cannot be asked for
