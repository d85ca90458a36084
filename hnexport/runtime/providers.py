"""onnxruntime's execution providers by short names, and why one cannot be had."""

import contextlib
import ctypes
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnxruntime

from hnexport.bundle.layout import session_source
from hnexport.errors import BundleError, ProviderError

__all__ = ["PROVIDERS", "check_provider_name", "missing_library", "open_session", "require_device"]

PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "cpu": "CPUExecutionProvider",
        "cuda": "CUDAExecutionProvider",
        "tensorrt": "TensorrtExecutionProvider",
        "directml": "DmlExecutionProvider",
        "coreml": "CoreMLExecutionProvider",
        "migraphx": "MIGraphXExecutionProvider",
    }
)

_NVIDIA = ("cuda", "tensorrt")
_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "cuda": "install CUDA and cuDNN with pip install 'onnxruntime-gpu[cuda,cudnn]'",
        "tensorrt": "install it with pip install tensorrt",
    }
)


def check_provider_name(provider: str) -> None:
    """Refuse a name that stands for no provider.

    Raises:
        ProviderError: with the names there are.
    """
    if provider != "auto" and provider not in PROVIDERS:
        raise ProviderError(f"unknown provider {provider!r}: choose one of auto, {', '.join(PROVIDERS)}")


def require_device(provider: str) -> None:
    """Refuse a provider that this onnxruntime was built without, or whose driver or GPU is missing.

    Raises:
        ProviderError: with what is missing, and its remedy.
    """
    available = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in available:
        raise ProviderError(_not_built_in(provider, available))
    if provider in _NVIDIA:
        _require_driver(provider)


def open_session(
    path: Path,
    options: onnxruntime.SessionOptions,
    provider: str,
    provider_options: Mapping[str, str] = MappingProxyType({}),
    *,
    fold: bool = True,
) -> onnxruntime.InferenceSession:
    """A session that runs on exactly this provider, with onnxruntime's options of that provider.

    Args:
        fold: whether onnxruntime computes constants when it loads the graph. It would keep a float32 copy of every
            float16 basis; without, a basis is cast in each run, and only then.

    Raises:
        ProviderError: onnxruntime has no such provider, its libraries or its device are missing, or it did not start.
        BundleError: onnxruntime cannot read the file.
    """
    name = PROVIDERS[provider]
    require_device(provider)
    if provider in _NVIDIA:
        _preload_cuda()
    options.log_severity_level = 3
    try:
        with _quiet() if provider in _NVIDIA else contextlib.nullcontext():
            session = _create(path, options, provider, provider_options, fold=fold)
    except Exception as error:  # onnxruntime's exceptions have no common root
        if provider == "cpu":
            raise BundleError(
                f"onnxruntime {onnxruntime.__version__} cannot load {path}: {error}; "
                "build the bundle again, or use the onnxruntime of the manifest's versions"
            ) from error
        raise ProviderError(f"provider {provider!r} could not load {path.name}: {error}; try provider='cpu'") from error
    running = session.get_providers()
    if running[0] != name:
        reason = missing_library(provider) or "onnxruntime gives no reason"
        remedy = _REMEDIES.get(provider, "see onnxruntime's page on this provider")
        raise ProviderError(
            f"provider {provider!r} did not start, onnxruntime fell back to {running[0]}: {reason}; "
            f"{remedy}, or choose provider='cpu'"
        )
    return session


def _create(
    path: Path,
    options: onnxruntime.SessionOptions,
    provider: str,
    provider_options: Mapping[str, str],
    *,
    fold: bool,
) -> onnxruntime.InferenceSession:
    arguments: dict[str, Any] = {"providers": [(PROVIDERS[provider], dict(provider_options))], "enable_fallback": 0}
    if not fold:  # at the highest level constants are folded whatever is disabled
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        arguments["disabled_optimizers"] = ["ConstantFolding"]
    source = session_source(path, options)
    try:
        return onnxruntime.InferenceSession(source.model, options, **arguments)
    except RuntimeError as error:
        # An application that called onnxruntime.set_global_thread_pool_sizes shares that pool among all its sessions.
        if "use_per_session_threads" not in str(error):
            raise
        options.use_per_session_threads = False
        return onnxruntime.InferenceSession(source.model, options, **arguments)


def missing_library(provider: str) -> str | None:
    """The loader's complaint about the first library that the provider needs and does not find; None if it finds all.

    To be asked after onnxruntime failed to start the provider, which does not say why except on stderr.
    """
    if sys.platform != "linux":
        return None
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{provider}.so"))
    except OSError as error:
        # Every dependency was found if all that is left open is what onnxruntime itself supplies.
        return None if "undefined symbol" in str(error) else str(error)
    return None


def _require_driver(provider: str) -> None:
    devices = _cuda_devices()
    if devices is None:
        raise ProviderError(
            f"provider {provider!r} cannot be had: there is no NVIDIA driver (libcuda cannot be loaded); install it, "
            "start the container with --gpus all, or choose provider='cpu'"
        )
    if devices == 0:
        raise ProviderError(
            f"provider {provider!r} cannot be had: the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?); "
            "choose provider='cpu'"
        )


def _preload_cuda() -> None:
    """Load the CUDA and cuDNN that pip installed, if it did; onnxruntime does not look there by itself."""
    preload: Any = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:  # it prints what it does not find
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            preload()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime from writing to stderr what becomes an error's message."""
    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # its default; it cannot be asked for


def _cuda_devices() -> int | None:
    """How many GPUs the NVIDIA driver sees; None without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _not_built_in(provider: str, available: list[str]) -> str:
    held = ", ".join(short for short, name in PROVIDERS.items() if name in available)
    remedy = {
        "cuda": "pip uninstall onnxruntime, then pip install onnxruntime-gpu",
        "tensorrt": "pip uninstall onnxruntime, then pip install onnxruntime-gpu and tensorrt",
        "directml": "pip install onnxruntime-directml (Windows)",
    }.get(provider, "install an onnxruntime that was built with it")
    return f"this onnxruntime {onnxruntime.__version__} has no provider {provider!r}, only {held}: {remedy}"
