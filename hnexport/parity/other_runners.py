"""Independent runtimes: OpenVINO, and ONNX's own reference evaluator, the specification as an oracle."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import embed_tensors, read_model
from hnexport.bundle.sessions import confined_path
from hnexport.errors import ParityError, ProviderError
from hnexport.names import COND_ID, MODEL_FILE
from hnexport.parity.limits import FULL, Limits
from hnexport.parity.own_signature import faults_of_graph
from hnexport.parity.providers import Device
from hnexport.parity.signature import signature_of
from hnexport.runtime.openvino_engine import import_openvino

__all__ = ["OpenVinoRunner", "ReferenceRunner", "is_small", "why_no_openvino"]

Array = NDArray[np.generic]

REFERENCE_WEIGHTS = 500_000  # main-network weights up to which the reference evaluator, in numpy, is quick


def why_no_openvino() -> str | None:
    """Why OpenVINO cannot be had, with the remedy; None where it can."""
    try:
        import_openvino()
    except ProviderError as error:
        return str(error)
    return None


def is_small(manifest: Manifest) -> bool:
    """Whether the main network is small enough for the reference evaluator."""
    return sum(slot.size for slot in manifest.slots if slot.alias_of is None) <= REFERENCE_WEIGHTS


class OpenVinoRunner:
    """`model.onnx` under OpenVINO on the CPU, in float32: its own default on a CPU that has bfloat16 is bfloat16."""

    limits = Limits(id_bits=32, keeps_nan=False)

    def __init__(self, bundle: Path, manifest: Manifest, device: Device) -> None:
        openvino = import_openvino()
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        self._outputs = [output.name for output in manifest.outputs]
        self.signature_faults = faults_of_graph(bundle / MODEL_FILE, signature_of(manifest))
        try:
            with confined_path(bundle / MODEL_FILE) as path:
                self._model = openvino.Core().compile_model(str(path), "CPU", hint)
        except RuntimeError as error:
            raise ParityError(f"OpenVINO cannot open {bundle / MODEL_FILE}: {error}") from error
        self.runtime = f"openvino {openvino.__version__.partition('-')[0]} cpu"

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        found = self._model({COND_ID: np.array(cond_id, dtype=np.int64), **inputs})
        return {name: np.array(found[name]) for name in self._outputs}


class ReferenceRunner:
    """`model.onnx` under ONNX's reference evaluator."""

    limits = FULL

    def __init__(self, bundle: Path, manifest: Manifest, device: Device) -> None:
        model = read_model(bundle / MODEL_FILE)
        embed_tensors(model, bundle / MODEL_FILE, manifest.files)
        self._model = ReferenceEvaluator(model)
        self._outputs = [output.name for output in manifest.outputs]
        self.signature_faults = faults_of_graph(bundle / MODEL_FILE, signature_of(manifest))
        self.runtime = f"onnx {onnx.__version__} reference"

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        with np.errstate(all="ignore"):
            found = self._model.run(self._outputs, {COND_ID: np.array(cond_id, dtype=np.int64), **inputs})
        return {name: np.asarray(value) for name, value in zip(self._outputs, found, strict=True)}
