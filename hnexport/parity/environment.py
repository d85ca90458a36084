"""What results depend on besides the bundle: versions, processor, threads."""

import platform
from pathlib import Path

import torch

__all__ = ["environment"]


def environment() -> dict[str, str]:
    """What the results depend on besides the bundle."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
