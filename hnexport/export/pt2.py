"""`.pt2`: the joint program itself, as `torch.export.save` writes it."""

from pathlib import Path

import torch

from hnexport.errors import CaptureError, ExportError
from hnexport.export.capture import Capture
from hnexport.programs.tracing import exporters_warnings

__all__ = ["write_pt2"]


def write_pt2(capture: Capture, path: Path) -> None:
    """Write the capture for `torch.export.load`, AOTInductor and ExecuTorch.

    Raises:
        CaptureError: the halves cannot be captured together.
        ExportError: `torch.export.save` failed.
    """
    try:
        with exporters_warnings():
            torch.export.save(capture.joint, path)
    except CaptureError:
        raise
    except Exception as error:
        raise ExportError(
            f".pt2 export of {capture.ensemble.name} failed, leave pt2 out of the formats: {error}"
        ) from error
