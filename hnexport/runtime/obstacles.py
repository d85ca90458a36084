"""Why a provider cannot be had on this machine, and what to type: asked of onnxruntime and of the driver alone."""

import ctypes
import os
import re
import sys
from dataclasses import dataclass

import onnxruntime

from hnexport.runtime.libraries import (
    can_load,
    cuda_version,
    driver_library,
    missing_libraries,
    preload_cuda,
    provider_library,
)
from hnexport.runtime.offered import KNOWN, KnownProvider, execution_provider, offered, plugin_devices, plugin_of
from hnexport.text import shorten

__all__ = [
    "NVIDIA",
    "Driver",
    "Obstacle",
    "driver_obstacle",
    "explain",
    "known_obstacle",
    "quick_obstacle",
    "read_driver",
]

NVIDIA = ("cuda", "tensorrt")
_NO_DEVICE, _DRIVER_MISMATCH = 100, 803  # CUresult of cuInit


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What stands in the way, and what to do about it; as text `what: remedy`."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


_MISMATCH = Obstacle(
    what="the NVIDIA driver's library and its kernel module are of different versions",
    remedy="restart the machine (or the container) after a driver update",
)


_NO_ADAPTER = Obstacle(
    what="WebGPU finds no GPU",
    remedy="install the GPU's driver (on Linux its Vulkan driver, and libvulkan1)",
)


ASK_DOCTOR = "look at what `hnexport doctor` says"
"""Where nothing better is known; the doctor says something else."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The NVIDIA driver, as it answers.

    Attributes:
        status: of `cuInit`; 0 is success.
        version: the newest CUDA that it can run, as 1000 * major + 10 * minor; 0 where it does not say.
        devices: how many GPUs it lets this process see.
    """

    status: int
    version: int
    devices: int


def read_driver() -> Driver | None:
    """Ask the NVIDIA driver; None without one."""
    try:
        driver = ctypes.CDLL(driver_library())
    except OSError:
        return None
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    if hasattr(driver, "cuDriverGetVersion"):
        driver.cuDriverGetVersion(ctypes.byref(version))
    status = int(driver.cuInit(0))
    if status == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        count = ctypes.c_int(0)
    return Driver(status=status, version=version.value, devices=count.value)


def quick_obstacle(provider: str, device: int = 0) -> Obstacle | None:
    """What can be known without starting it: is it there, is there a driver, and a GPU of that number?"""
    if execution_provider(provider) not in onnxruntime.get_available_providers():
        there = plugin_devices(provider) or plugin_of(provider)
        return None if there else _not_built_in(provider)
    return driver_obstacle(read_driver(), device) if provider in NVIDIA else None


def explain(provider: str, error: str, doing: str = "compute") -> Obstacle:
    """What it means that onnxruntime could not do something with the provider, from what it said (or "")."""
    found = known_obstacle(provider, error) or (_missing(provider) if provider in NVIDIA else None)
    if found is not None:
        return found
    failure = re.search(r"CUDA failure \d+: [^;]*[^;\s]", error)  # the rest are places in onnxruntime's source
    text = shorten(failure[0] if failure else error) or "onnxruntime gives no reason"
    return Obstacle(what=f"it could not {doing}: {text}", remedy=ASK_DOCTOR)


def known_obstacle(provider: str, error: str) -> Obstacle | None:
    """What an error of onnxruntime's means, if it is one of those that are known."""
    if provider == "webgpu" and re.search(r"WebGpuContext|RequestAdapter", error):
        return _NO_ADAPTER
    if provider not in NVIDIA:
        return None
    return next((found for pattern, found in _known_failures().items() if re.search(pattern, error)), None)


def driver_obstacle(driver: Driver | None, device: int = 0) -> Obstacle | None:
    """Why the driver's answer rules CUDA out on a device; None where it does not."""
    built_for = cuda_version()
    if driver is None:
        return Obstacle(
            what=f"there is no NVIDIA driver ({driver_library()} cannot be loaded)",
            remedy="install it, or start the container with --gpus all",
        )
    if built_for and 0 < driver.version < 1000 * int(built_for):
        return _old_driver(f"{driver.version // 1000}.{driver.version % 1000 // 10}")
    if driver.status == _DRIVER_MISMATCH:
        return _MISMATCH
    if driver.devices > device:
        return None
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if driver.devices:
        remedy = f"choose one from 0 to {driver.devices - 1}"
        return Obstacle(what=f"there is no GPU {device}, the NVIDIA driver shows {driver.devices}", remedy=remedy)
    if hidden is not None and driver.status in (0, _NO_DEVICE):
        what = f"the NVIDIA driver sees no GPU, with CUDA_VISIBLE_DEVICES={hidden!r}"
        return Obstacle(what=what, remedy="unset CUDA_VISIBLE_DEVICES, or name a GPU that nvidia-smi lists")
    failed = f" (cuInit gave {driver.status})" if driver.status not in (0, _NO_DEVICE) else ""
    return Obstacle(
        what=f"the NVIDIA driver sees no GPU{failed}",
        remedy="look whether nvidia-smi lists one, and start the container with --gpus all",
    )


def _known_failures() -> dict[str, Obstacle]:
    """What is found in an error of onnxruntime's, and what that means."""
    cuda = cuda_version()
    return {
        r"cuDNN is unavailable|libcudnn": Obstacle(
            what=f"cuDNN 9 for CUDA {cuda or '(unknown)'} cannot be loaded",
            remedy=f"pip install {f'nvidia-cudnn-cu{cuda}' if cuda else _with_cuda()}",
        ),
        r"CUDNN|cudnn_fe": Obstacle(
            what="cuDNN is there and cannot compute",
            remedy=f"pip install --upgrade {f'nvidia-cudnn-cu{cuda}' if cuda else _with_cuda()}, and update the driver",
        ),
        r"CUDA failure 3[56]\b|driver version is insufficient": _old_driver(""),
        r"CUDA failure 803\b": _MISMATCH,
        r"CUDA failure 100\b|no CUDA-capable device": Obstacle(
            what="CUDA finds no GPU",
            remedy="look whether nvidia-smi lists one, or CUDA_VISIBLE_DEVICES hides it; containers need --gpus all",
        ),
        r"CUDA failure 2\b|CUDA failure 2:|out of memory|Failed to allocate memory": Obstacle(
            what="the GPU's memory is full", remedy="free some (nvidia-smi says who holds it), or use smaller batches"
        ),
        r"CUDA failure 209\b|no kernel image": Obstacle(
            what=f"onnxruntime {onnxruntime.__version__} was not compiled for this GPU",
            remedy="pip install another version of onnxruntime-gpu that was",
        ),
    }


def _old_driver(found: str) -> Obstacle:
    cuda = cuda_version() or "this onnxruntime's version"
    has = f"is for CUDA {found}" if found else "is too old"
    return Obstacle(
        what=f"the NVIDIA driver {has}, onnxruntime {onnxruntime.__version__} needs one for CUDA {cuda}",
        remedy="update the driver, or install an onnxruntime-gpu that was built for the CUDA that nvidia-smi shows",
    )


def _missing(provider: str) -> Obstacle | None:
    """The libraries that the provider needs and the loader does not find."""
    if sys.platform != "linux":
        return None
    if not provider_library(provider).is_file():
        return Obstacle(
            what=f"{provider_library(provider).name} is not in the installed onnxruntime",
            remedy="pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu",
        )
    preload_cuda()
    missing = missing_libraries(provider)
    if not missing:
        return None
    what = "; ".join(missing)
    cuda = cuda_version()
    other = [name for name in ("11", "12", "13") if name != cuda and can_load(f"libcublas.so.{name}")]
    if cuda:
        what += f" (onnxruntime {onnxruntime.__version__} is built for CUDA {cuda}"
        what += f", here is CUDA {other[0]})" if other else ")"
    if any("libnv" in line for line in missing):
        return Obstacle(what=what, remedy="pip install tensorrt")
    return Obstacle(what=what, remedy=f"pip install {_with_cuda()}")


def _with_cuda() -> str:
    """What brings CUDA and cuDNN of the right versions: the wheel's own extras."""
    return f"'onnxruntime-gpu[cuda,cudnn]=={onnxruntime.__version__}'"


def _not_built_in(provider: str) -> Obstacle:
    what = f"this onnxruntime {onnxruntime.__version__} has no provider {provider!r}, only {', '.join(offered())}"
    return Obstacle(what=what, remedy=KNOWN[provider].remedy if provider in KNOWN else KnownProvider.remedy)
