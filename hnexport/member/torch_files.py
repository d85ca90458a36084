"""A member as TorchScript or `.pt2`: the bundle's own joint program with that member's id as a constant."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from hnexport.bundle.manifest import Format, Identified
from hnexport.confine.trust import Trust
from hnexport.errors import BundleError, CaptureError, ExportError, NotRunError
from hnexport.export.plain import plain_program
from hnexport.export.torchscript import scripted
from hnexport.member.formats import MemberFormat
from hnexport.names import PT2_FILE
from hnexport.programs.tracing import exporters_warnings
from hnexport.reading import ReadError, open_regular
from hnexport.rows import taken
from hnexport.spec.precision import Precision
from hnexport.spelling import spelled

__all__ = ["TorchMembers"]

Array = NDArray[np.generic]


class TorchMembers:
    """Writes members of a bundle as PyTorch programs."""

    def __init__(self, bundle: Path, found: Identified, trust: Trust, inputs: Mapping[str, Array]) -> None:
        """Load the bundle's `.pt2`, which is a program.

        Args:
            inputs: golden samples: zeros of their sizes are shown to the exporter, which keeps what it is shown.

        Raises:
            BundleError: the bundle has none, or PyTorch cannot load it.
            NotRunError: it is not trusted.
        """
        self._signature, path = found.manifest.signature, bundle / PT2_FILE
        if Format.PT2 not in found.manifest.formats:
            raise BundleError(
                f"{bundle} holds no {PT2_FILE}, of which a member's .pt2 or .pt is made: build it with the format pt2, "
                "or write the member as .onnx"
            )
        self._joint = _loaded(path, trust)
        shown = taken(self._signature, inputs, [0, 0])
        self._examples = {name: torch.zeros_like(torch.from_numpy(array)) for name, array in shown.items()}

    def write(
        self,
        member: int,
        path: Path,
        kind: MemberFormat,
        marks: Mapping[str, str],
        *,
        batch: int | None = None,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        """Write a member's file.

        Args:
            marks: become further files in the archive.
            batch: the one batch size that it runs; None for any.
            precision: of its convolutions and matrix products.

        Raises:
            CaptureError, ExportError: PyTorch cannot capture or write it.
        """
        products = getattr(torch, precision.value)
        program = plain_program(self._joint, self._signature, member, self._examples, batch=batch, products=products)
        try:
            with torch.no_grad(), exporters_warnings():
                if kind is MemberFormat.PT2:
                    torch.export.save(program, path, extra_files=dict(marks))
                else:
                    scripted(program).save(str(path), _extra_files=dict(marks))
        except CaptureError:
            raise
        except Exception as error:
            raise ExportError(f"member {member} could not be written as .{kind}: {error}") from error


def _loaded(path: Path, trust: Trust) -> ExportedProgram:
    try:
        with open_regular(path) as file:
            content = file.read()
    except (OSError, ReadError) as error:
        raise BundleError(f"{path} cannot be read: {error}; copy or build the bundle again") from error
    if not trust.covers(content):
        raise NotRunError(
            f"{path} is a program of somebody else, which would run in this process: give "
            f"{spelled('trust=True', '--trust')} if you know who built it, or write the member as .onnx"
        )
    try:
        return torch.export.load(io.BytesIO(content))
    except Exception as error:  # torch raises anything on a file that it cannot read
        raise BundleError(f"PyTorch {torch.__version__} cannot load {path}: {error}") from error
