"""What is installed: the wheels that bring onnxruntime, what building needs, and one sentence where it is not there."""

import importlib
import importlib.metadata
import sys
from importlib.util import find_spec

from hnexport.errors import IncompleteError, OnnxruntimeMissingError
from hnexport.interrupts import interrupts_kept

__all__ = [
    "COMPLETE",
    "RUNTIME_WHEELS",
    "installed_wheels",
    "is_complete",
    "missing_for_building",
    "require_complete",
    "require_extra",
    "require_onnxruntime",
]

RUNTIME_WHEELS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-webgpu",
    "onnxruntime-cann",
    "onnxruntime-training",
    "onnxruntime-trt-rtx",
    "onnxruntime-windowsml",
)
"""Distributions that bring the package `onnxruntime`: two of them overwrite each other's files."""

COMPLETE = "pip install hnexport"
"""What brings everything that hnexport-runtime does without."""

_FOR_BUILDING = ("torch", "onnx", "onnxscript", "onnx_ir", "jinja2")
"""What `hnexport` brings beside hnexport-runtime, but onnxruntime's wheel."""


def installed_wheels() -> dict[str, str]:
    """The versions of those of `RUNTIME_WHEELS` that are installed."""
    found = {}
    for name in RUNTIME_WHEELS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def missing_for_building() -> tuple[str, ...]:
    """The packages that building and verifying need and that are not installed."""
    return tuple(name for name in _FOR_BUILDING if name not in sys.modules and find_spec(name) is None)


def is_complete() -> bool:
    """Whether bundles can be built and verified here, and not only loaded."""
    return not missing_for_building()


def require_complete(what: str) -> None:
    """Refuse where hnexport-runtime is alone.

    Args:
        what: begins the sentence, such as "`hnexport build`".

    Raises:
        IncompleteError: something is not installed; with what to type.
    """
    missing = missing_for_building()
    if missing:
        named = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        verb = "is" if len(missing) == 1 else "are"
        raise IncompleteError(f"{what} needs all of hnexport, and {named} {verb} not installed: {COMPLETE}")


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


def require_extra(what: str, module: str, extra: str) -> None:
    """Refuse where a package is missing that only some commands need.

    Args:
        what: begins the sentence, such as "Parquet".
        module: the package's name in Python.
        extra: the optional dependencies that bring it.

    Raises:
        IncompleteError: it is not installed; with what to type.
    """
    if find_spec(module) is None:
        distribution = "hnexport" if is_complete() else "hnexport-runtime"
        raise IncompleteError(f'{what} needs {module}, which is not installed: pip install "{distribution}[{extra}]"')
