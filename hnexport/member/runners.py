"""A member's file under its runtime, so that parity can compare it: a runner that has one member and takes no id."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import ParityError
from hnexport.parity.limits import Limits
from hnexport.parity.nan_marks import mark_maxima
from hnexport.parity.providers import Device, onnx_session
from hnexport.parity.trace.onnx_graph import load_graph, open_values

__all__ = ["OnnxMemberRunner", "TorchMemberRunner"]

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


class OnnxMemberRunner:
    """An ONNX file `inputs -> outputs` under onnxruntime's CPU provider, as any loader opens it."""

    def __init__(self, path: Path, manifest: Manifest, batch: int | None = None) -> None:
        """Open it.

        Raises:
            ParityError: onnxruntime cannot, or its inputs and outputs are not the bundle's.
        """
        self._path, self._outputs = path, [output.name for output in manifest.outputs]
        self._session = onnx_session(path, onnxruntime.SessionOptions(), Device())
        found = [item.name for item in (*self._session.get_inputs(), *self._session.get_outputs())]
        expected = [item.name for item in (*manifest.signature.inputs, *manifest.outputs)]
        if found != expected:
            raise ParityError(f"{path.name} has the inputs and outputs {found}, expected {expected}")
        self.limits = _limits(batch)
        self.runtime = f"onnxruntime {onnxruntime.__version__} cpu"

    def run(self, cond_id: int, inputs: Arrays) -> Arrays:
        """The outputs; the file has one member."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def with_marks(self, cond_id: int, inputs: Arrays) -> Arrays | None:
        """The outputs where no maximum loses a NaN; None where it has no maxima."""
        model = load_graph(self._path)
        if not mark_maxima(model):
            return None
        session = open_values(model, self._path, self._outputs)
        return dict(zip(self._outputs, session.run(self._outputs, dict(inputs)), strict=True))


class TorchMemberRunner:
    """A `.pt2` or TorchScript file that this process has just written, under PyTorch on the CPU."""

    def __init__(self, path: Path, manifest: Manifest, batch: int | None = None) -> None:
        """Load it.

        Raises:
            ParityError: PyTorch cannot.
        """
        self._signature = manifest.signature
        try:
            if path.suffix.lower() == ".pt2":
                self._module = torch.export.load(path).module()
            else:
                self._module = torch.jit.load(path).eval()  # type: ignore[no-untyped-call]
        except Exception as error:  # torch raises anything
            raise ParityError(f"PyTorch {torch.__version__} cannot load {path.name}: {error}") from error
        self.limits = _limits(batch)
        self.runtime = f"torch {torch.__version__} cpu"

    def run(self, cond_id: int, inputs: Arrays) -> Arrays:
        """The outputs; the file has one member."""
        given = [torch.from_numpy(np.array(inputs[item.name])) for item in self._signature.inputs]
        with torch.inference_mode():
            found = self._module(*given)
        outputs = [found] if isinstance(found, torch.Tensor) else list(found)
        return {item.name: one.numpy() for item, one in zip(self._signature.outputs, outputs, strict=True)}


def _limits(batch: int | None) -> Limits:
    return Limits(one_member=True, batch_sizes=None if batch is None else (batch,))
