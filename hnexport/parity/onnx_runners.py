"""Runners of ONNX files: onnxruntime on the CPU, CUDA or TensorRT."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import check_model
from hnexport.bundle.restore import as_stored
from hnexport.errors import ParityError
from hnexport.export.ensemble import ENSEMBLE_OUTPUTS
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.limits import FULL
from hnexport.parity.onnx_signature import onnx_signature
from hnexport.parity.providers import Device, Placement, onnx_session, profiled_placement
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.onnx_graph import constants, load_graph
from hnexport.parity.trace.onnx_trace import OnnxTracer, OnnxWeights

__all__ = ["MaterialisedRunner", "OnnxRunner"]

Array = NDArray[np.generic]


class OnnxRunner:
    """An ONNX graph `(cond_id, image) -> logits` under onnxruntime."""

    def __init__(self, path: Path, manifest: Manifest, device: Device) -> None:
        self._path, self._manifest, self._device = path, manifest, device
        self._weights: OnnxWeights | None = None
        if file_kind(path) is FileKind.ONNX:
            check_model(path)
        self._session = onnx_session(path, onnxruntime.SessionOptions(), device)
        self._signature = onnx_signature(path, self._session, manifest)
        self.limits = self._signature.limits
        self.runtime = _runtime(self._session)

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        found = self._session.run(self._signature.outputs, self._signature.feed(cond_id, inputs["image"]))
        return {"logits": found[0]}

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a graph with the signature of `ensemble.onnx` returns."""
        found = self._session.run(self._signature.outputs, self._signature.feed(cond_ids, inputs["image"]))
        return dict(zip(ENSEMBLE_OUTPUTS, found, strict=True))

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's initializers; stored tensors in their stored layout."""
        yield from _stored(self._manifest, constants(load_graph(self._path), self._path))

    def placement(self, inputs: Mapping[str, Array]) -> Placement | None:
        """Where the graph's nodes run; None on the CPU, which has nowhere to fall back to."""
        if self._device.provider == "cpu":
            return None
        return profiled_placement(self._path, self._device, self._signature.feed(0, inputs["image"]))

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the graph gives its operators."""
        if self._weights is None:
            self._weights = OnnxWeights(self._path, self._slots, self._signature.cond_id)
        return self._weights.run(cond_id)

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every value of one call, node by node and without optimisation."""
        tracer = OnnxTracer(self._path, self._slots, cond_id=self._signature.cond_id)
        trace = tracer.run(self._signature.feed(cond_id, inputs["image"]))
        names = [output.name for output in self._manifest.outputs]
        outputs = {name: trace.outputs[own] for name, own in zip(names, self._signature.outputs, strict=True)}
        return dataclasses.replace(trace, outputs=outputs)

    @property
    def _slots(self) -> tuple[str, ...]:
        return tuple(slot.name for slot in self._manifest.slots)


class MaterialisedRunner:
    """`hypernet.onnx` once for a member, its outputs given to `network.onnx` as initializers."""

    limits = FULL

    def __init__(self, bundle: Path, manifest: Manifest, device: Device) -> None:
        if manifest.onnx is None:
            raise ParityError(f"{bundle} holds no ONNX files; build it with the format onnx")
        self._bundle, self._manifest, self._device = bundle, manifest, device
        self._supplied = manifest.onnx.supplied
        for name in ("hypernet.onnx", "network.onnx"):
            check_model(bundle / name, manifest.files)
        self._hypernet = onnx_session(bundle / "hypernet.onnx", onnxruntime.SessionOptions(), device)
        self._member: int | None = None
        self._network: onnxruntime.InferenceSession
        self.runtime = _runtime(self._hypernet)

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member; its session is kept until another member is asked for."""
        if cond_id != self._member:
            self._network, self._member = self._materialise(cond_id), cond_id
        return {"logits": self._network.run(["logits"], {"image": inputs["image"]})[0]}

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The initializers of both files; stored tensors in their stored layout."""
        for name in ("hypernet.onnx", "network.onnx"):
            held = constants(load_graph(self._bundle / name), self._bundle / name)
            own = {key: value for key, value in held.items() if key not in self._supplied}
            yield from _stored(self._manifest, own)

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """Every output of `hypernet.onnx`; those are all slots but the tied ones' other names."""
        names = [output.name for output in self._hypernet.get_outputs()]
        found = self._hypernet.run(names, {"cond_id": np.array(cond_id, dtype=np.int64)})
        named = dict(zip(names, found, strict=True))
        aliases = {slot.name: named[slot.alias_of] for slot in self._manifest.slots if slot.alias_of in named}
        return Given(named={**named, **aliases}, calls=())

    def _materialise(self, cond_id: int) -> onnxruntime.InferenceSession:
        weights = self._hypernet.run(list(self._supplied), {"cond_id": np.array(cond_id, dtype=np.int64)})
        options = onnxruntime.SessionOptions()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights]
        options.add_external_initializers(list(self._supplied), values)
        return onnx_session(self._bundle / "network.onnx", options, self._device)


def _stored(manifest: Manifest, constants: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    shapes = {stored.name: stored.shape for stored in manifest.stored}
    for name, value in constants.items():
        yield name, as_stored(value, shapes.get(name, value.shape))


def _runtime(session: onnxruntime.InferenceSession) -> str:
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"onnxruntime {onnxruntime.__version__} {provider.lower()}"
