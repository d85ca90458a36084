"""ONNX: two halves, composed to four graphs over one weights file.

- `model.onnx`: `(cond_id, conditions, inputs) -> outputs`.
- `ensemble.onnx`: the same for several members in one call, see `hnexport.export.ensemble`.
- `hypernet.onnx`: `(cond_id, conditions) ->` every tensor of the main network, by slot name.
- `network.onnx`: `inputs -> outputs`. Shared tensors are in the weights file; every other tensor is an external
  initializer that the loader supplies from the outputs of `hypernet.onnx`: by name
  (`SessionOptions.add_external_initializers`), or as `member.bin`, which holds them one after the other in the order of
  `supplied`, little-endian without gaps.

Bases whose chunks are joined lie in the weights file by output channel (see `hnexport.hypernet.joined`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from hnexport.errors import ExportError
from hnexport.export.capture import Capture
from hnexport.export.compose import compose_hypernet, compose_model, compose_network, halves
from hnexport.export.ensemble import ensemble_model, inline_shared
from hnexport.export.graphs import make_initializer
from hnexport.export.weights_file import WeightsFile, rearranged, write_weights
from hnexport.names import ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE
from hnexport.spec import StoredKind

__all__ = ["OnnxFiles", "write_onnx"]


@dataclass(frozen=True, kw_only=True)
class OnnxFiles:
    """What was written.

    Attributes:
        opset: version of the default operator set.
        ir_version: of the ONNX format.
        supplied: the slots whose tensors the loader of `network.onnx` supplies.
    """

    opset: int
    ir_version: int
    supplied: tuple[str, ...]


def write_onnx(capture: Capture, folder: Path, metadata: Mapping[str, str]) -> OnnxFiles:
    """Write the four ONNX files and their weights file into `folder`.

    Args:
        metadata: goes into each file's metadata properties.

    Raises:
        CaptureError: the network is not what the ensemble says.
        ExportError: the exporter failed, or a file does not pass ONNX's checker.
    """
    both, ensemble = halves(capture), capture.ensemble
    weights = write_weights(folder, rearranged(ensemble))
    model = compose_model(both)
    network, supplied = compose_network(both)
    models = {
        MODEL_FILE: model,
        ENSEMBLE_FILE: ensemble_model(model, ensemble.signature),
        HYPERNET_FILE: compose_hypernet(both),
        NETWORK_FILE: network,
    }
    shared = [stored.name for stored in ensemble.stored if stored.kind is StoredKind.SHARED]
    for file, each in models.items():
        _attach(each, weights)
        if file == ENSEMBLE_FILE:
            inline_shared(each, shared)
        _save(each, folder / file, {**metadata, "hnexport.file": file.removesuffix(".onnx")})
        if file != NETWORK_FILE or not supplied:  # the checker insists on external files that exist
            _check(folder / file)
    return OnnxFiles(opset=model.opset_imports[""], ir_version=model.ir_version, supplied=supplied)


def _attach(model: ir.Model, weights: WeightsFile) -> None:
    """Turn the stored tensors from inputs into initializers that refer to the weights file."""
    for value in [value for value in model.graph.inputs if value.name in weights.locations]:
        make_initializer(model.graph, model.graph, value, weights.reference(str(value.name)))


def _save(model: ir.Model, path: Path, metadata: Mapping[str, str]) -> None:
    from hnexport import __version__

    model.producer_name, model.producer_version = "hnexport", __version__
    model.metadata_props.update(metadata)
    path.write_bytes(ir.serde.serialize_model(model).SerializeToString(deterministic=True))


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        raise ExportError(f"{path.name} does not pass ONNX's checker: {error}") from error
