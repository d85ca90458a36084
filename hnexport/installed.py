"""The wheels that bring onnxruntime, and one sentence where it cannot be imported."""

import importlib
import importlib.metadata
from importlib.util import find_spec

from hnexport.errors import ProviderError
from hnexport.interrupts import interrupts_kept

__all__ = ["RUNTIME_WHEELS", "OnnxruntimeMissingError", "installed_wheels", "require_onnxruntime"]

RUNTIME_WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm")
"""Distributions that bring the package `onnxruntime`: two of them overwrite each other's files."""


class OnnxruntimeMissingError(ProviderError, ImportError):
    """onnxruntime is not installed, or what is installed cannot be imported."""


def installed_wheels() -> dict[str, str]:
    """The versions of those of `RUNTIME_WHEELS` that are installed."""
    found = {}
    for name in RUNTIME_WHEELS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def require_onnxruntime() -> None:
    """Import onnxruntime.

    Raises:
        OnnxruntimeMissingError: it is not installed, or broken; with what to type.
    """
    wheels = installed_wheels()
    if not wheels and find_spec("onnxruntime") is None:
        raise OnnxruntimeMissingError("onnxruntime is not installed: pip install onnxruntime-gpu, or onnxruntime")
    reason = _why_not_imported()
    if reason:
        wheels = wheels or {"onnxruntime": ""}
        held = " and ".join(f"{name} {version}".strip() for name, version in wheels.items())
        again = "onnxruntime-gpu" if "onnxruntime-gpu" in wheels else next(iter(wheels))
        raise OnnxruntimeMissingError(
            f"{held} {'is' if len(wheels) == 1 else 'are'} installed and cannot be imported ({reason}): "
            f"pip uninstall {' '.join(wheels)}, then pip install {again}"
        )


def _why_not_imported() -> str:
    """What is wrong with the package `onnxruntime`; "" where nothing is."""
    if find_spec("onnxruntime") is None:
        return "its files are gone, as after pip uninstall of another of these wheels"
    try:
        with interrupts_kept():
            found = importlib.import_module("onnxruntime")
    except Exception as error:  # a broken installation may raise anything
        return str(error) or type(error).__name__
    complete = hasattr(found, "InferenceSession") and hasattr(found, "get_available_providers")
    return "" if complete else "it is an empty package"
