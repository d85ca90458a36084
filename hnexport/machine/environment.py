"""What results depend on besides the bundle: versions, processor, threads. Reports and benchmarks hold it."""

import platform

from hnexport.machine.processor import processor_name

__all__ = ["environment"]


def environment() -> dict[str, str]:
    """Versions, platform, processor and PyTorch's threads, by name. Imports PyTorch."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "torch": torch.__version__,
        "torch threads": str(torch.get_num_threads()),
    }
