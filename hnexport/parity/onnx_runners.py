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
from hnexport.names import COND_ID, COND_IDS, ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.limits import Limits
from hnexport.parity.onnx_signature import OnnxSignature, onnx_signature
from hnexport.parity.own_signature import faults_of_graph, faults_of_hypernet, faults_of_network, loses_nan, reached_by
from hnexport.parity.providers import Device, Placement, onnx_session, profiled_placement
from hnexport.parity.signature import signature_of
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.onnx_graph import constants, load_graph
from hnexport.parity.trace.onnx_trace import OnnxTracer, OnnxWeights

__all__ = ["MaterialisedRunner", "OnnxRunner", "own_model"]

Array = NDArray[np.generic]


class OnnxRunner:
    """An ONNX graph `(condition id, inputs) -> outputs` under onnxruntime."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        device: Device,
        called: OnnxSignature | None = None,
        signature_faults: tuple[str, ...] = (),
    ) -> None:
        """Open a graph.

        Args:
            called: how; None for somebody's file, which may name its inputs and outputs as it likes.

        Raises:
            ParityError: it cannot be opened, or called with the bundle's inputs.
        """
        self._path, self._manifest, self._device = path, manifest, device
        self._weights: OnnxWeights | None = None
        is_onnx = file_kind(path) is FileKind.ONNX
        if is_onnx:
            check_model(path)
        self._session = onnx_session(path, onnxruntime.SessionOptions(), device)
        self._called = called or onnx_signature(path, self._session, signature_of(manifest))
        keeps_nan = not is_onnx or not loses_nan(load_graph(path).graph)
        self.limits = dataclasses.replace(self._called.limits, keeps_nan=keeps_nan)
        self.signature_faults = signature_faults
        self.runtime = _runtime(self._session)

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        return self._called.run(self._session, cond_id, inputs)

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a graph with the signature of `ensemble.onnx` returns."""
        return self._called.run(self._session, cond_ids, inputs)

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's initializers; stored tensors in their stored layout."""
        yield from _stored(self._manifest, constants(load_graph(self._path), self._path))

    def placement(self, inputs: Mapping[str, Array]) -> Placement | None:
        """Where the graph's nodes run; None on the CPU, which has nowhere to fall back to."""
        if self._device.provider == "cpu":
            return None
        return profiled_placement(self._path, self._device, self._called.feed(0, inputs))

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the graph gives its operators."""
        if self._weights is None:
            self._weights = OnnxWeights(self._path, self._slots, self._called.cond_id)
        return self._weights.run(cond_id)

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every value of one call, node by node and without optimisation."""
        tracer = OnnxTracer(self._path, self._slots, cond_id=self._called.cond_id)
        trace = tracer.run(self._called.feed(cond_id, inputs))
        outputs = {name: trace.outputs[own] for name, own in self._called.outputs.items()}
        return dataclasses.replace(trace, outputs=outputs)

    @property
    def _slots(self) -> tuple[str, ...]:
        return tuple(slot.name for slot in self._manifest.slots)


def own_model(bundle: Path, manifest: Manifest, device: Device, *, together: bool = False) -> OnnxRunner:
    """`model.onnx` of a bundle, or `ensemble.onnx` with `together`, called as the manifest says.

    Where the file is not as the manifest says, the runner's `signature_faults` tell.

    Raises:
        ParityError: it cannot be opened.
    """
    path, signature = bundle / (ENSEMBLE_FILE if together else MODEL_FILE), signature_of(manifest)
    called = OnnxSignature(
        cond_id=COND_IDS if together else COND_ID,
        id_type="int64",
        id_axes=int(together),
        inputs={item.name: (item.name, item.dtype) for item in signature.inputs[1:]},
        outputs={item.name: item.name for item in (signature.summaries if together else signature.outputs)},
        limits=Limits(together=together),
    )
    faults = faults_of_graph(path, signature, together=together)
    return OnnxRunner(path, manifest, device, called, faults)


class MaterialisedRunner:
    """`hypernet.onnx` once for a member, its outputs given to `network.onnx` as initializers."""

    def __init__(self, bundle: Path, manifest: Manifest, device: Device) -> None:
        if manifest.onnx is None:
            raise ParityError(f"{bundle} holds no ONNX files; build it with the format onnx")
        self._bundle, self._manifest, self._device = bundle, manifest, device
        self._supplied = manifest.onnx.supplied
        for name in (HYPERNET_FILE, NETWORK_FILE):
            check_model(bundle / name, manifest.files)
        signature = signature_of(manifest)
        self.signature_faults = (
            *faults_of_hypernet(bundle / HYPERNET_FILE, signature, manifest.slots),
            *faults_of_network(bundle / NETWORK_FILE, signature),
        )
        self._outputs = [output.name for output in manifest.outputs]
        network = load_graph(bundle / NETWORK_FILE)
        reached = reached_by(network, self._supplied)
        self.limits = Limits(
            keeps_nan=not loses_nan(network.graph),
            unguarded=tuple(o.name for o in manifest.outputs if o.is_floating and o.name not in reached),
        )
        self._hypernet = onnx_session(bundle / HYPERNET_FILE, onnxruntime.SessionOptions(), device)
        self._member: int | None = None
        self._network: onnxruntime.InferenceSession
        self.runtime = _runtime(self._hypernet)

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member; its session is kept until another member is asked for."""
        if cond_id != self._member:
            self._network, self._member = self._materialise(cond_id), cond_id
        return dict(zip(self._outputs, self._network.run(self._outputs, dict(inputs)), strict=True))

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The initializers of both files; stored tensors in their stored layout."""
        for name in (HYPERNET_FILE, NETWORK_FILE):
            held = constants(load_graph(self._bundle / name), self._bundle / name)
            own = {key: value for key, value in held.items() if key not in self._supplied}
            yield from _stored(self._manifest, own)

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """Every output of `hypernet.onnx`; those are all slots but the tied ones' other names."""
        names = [output.name for output in self._hypernet.get_outputs()]
        named = dict(zip(names, self._given(names, cond_id), strict=True))
        aliases = {slot.name: named[slot.alias_of] for slot in self._manifest.slots if slot.alias_of in named}
        return Given(named={**named, **aliases}, calls=())

    def _given(self, names: list[str], cond_id: int) -> list[Array]:
        return self._hypernet.run(names, {COND_ID: np.array(cond_id, dtype=np.int64)})  # type: ignore[no-any-return]

    def _materialise(self, cond_id: int) -> onnxruntime.InferenceSession:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in self._given(list(self._supplied), cond_id)]
        options = onnxruntime.SessionOptions()
        options.add_external_initializers(list(self._supplied), values)
        return onnx_session(self._bundle / NETWORK_FILE, options, self._device)


def _stored(manifest: Manifest, constants: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    shapes = {stored.name: stored.shape for stored in manifest.stored}
    for name, value in constants.items():
        yield name, as_stored(value, shapes.get(name, value.shape))


def _runtime(session: onnxruntime.InferenceSession) -> str:
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"onnxruntime {onnxruntime.__version__} {provider.lower()}"
