"""Runners of ONNX files: onnxruntime on one of its providers."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import check_model
from hnexport.bundle.restore import as_stored
from hnexport.bundle.supplied import check_supplied
from hnexport.errors import ParityError
from hnexport.names import COND_ID, COND_IDS, ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE
from hnexport.parity.kinds import FileKind, file_kind
from hnexport.parity.limits import Limits
from hnexport.parity.nan_marks import mark_maxima
from hnexport.parity.onnx_signature import OnnxSignature, onnx_signature
from hnexport.parity.own_signature import faults_of_graph, faults_of_hypernet, faults_of_network
from hnexport.parity.providers import Device, Placement, limited, onnx_session, profiled_placement
from hnexport.parity.random_operators import random_operators
from hnexport.parity.signature import signature_of
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.onnx_graph import constants, dependent, load_graph, open_values
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
        random: tuple[str, ...] = (),
        *,
        may_be_one: bool = False,
    ) -> None:
        """Open a graph.

        Args:
            called: how; None for somebody's file, which may name its inputs and outputs as it likes.
            random: of a bundle's own file, see `random_operators`.
            may_be_one: whether somebody's file may be one member by itself.

        Raises:
            ParityError: it cannot be opened, or called with the bundle's inputs.
        """
        self._path, self._manifest, self._device = path, manifest, device
        self._weights: OnnxWeights | None = None
        if file_kind(path) is FileKind.ONNX:
            check_model(path)
        self._session = onnx_session(path, onnxruntime.SessionOptions(), device)
        self._called = called or onnx_signature(path, self._session, signature_of(manifest), may_be_one=may_be_one)
        self.limits = limited(self._called.limits, device)
        self.signature_faults, self.random = signature_faults, random
        self.runtime = _runtime(self._session)

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        return self._called.run(self._session, cond_id, inputs)

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a graph with the signature of `ensemble.onnx` returns."""
        return self._called.run(self._session, cond_ids, inputs)

    def with_marks(self, cond_id: int | NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array] | None:
        """The outputs, or those of several members, where no maximum loses a NaN; None where it has no maxima."""
        if file_kind(self._path) is not FileKind.ONNX:
            return None
        model = load_graph(self._path)
        if not mark_maxima(model):
            return None
        return self._called.run(open_values(model, self._path, list(self._called.outputs.values())), cond_id, inputs)

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's initializers; stored tensors in their stored shape."""
        yield from _stored(self._manifest, constants(load_graph(self._path), self._path))

    def placement(self, inputs: Mapping[str, Array]) -> Placement | None:
        """Where the graph's nodes run; None on the CPU, which has nowhere to fall back to."""
        if self._device.provider == "cpu":
            return None
        return profiled_placement(self._path, self._device, self._called.feed(0, inputs))

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the graph gives its operators."""
        if self._weights is None:
            self._weights = OnnxWeights(self._path, self._slots, self._called.cond_id, self._conditions)
        return self._weights.run(self._called.feed(cond_id, inputs))

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every value of one call, node by node and without optimisation."""
        called = self._called
        tracer = OnnxTracer(self._path, self._slots, cond_id=called.cond_id, conditions=self._conditions)
        trace = tracer.run(self._called.feed(cond_id, inputs))
        outputs = {name: trace.outputs[own] for name, own in self._called.outputs.items()}
        return dataclasses.replace(trace, outputs=outputs)

    @property
    def _conditions(self) -> tuple[str, ...]:
        """The graph's own names of the conditions."""
        return tuple(self._called.inputs[name][0] for name in self._manifest.conditions)

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
    return OnnxRunner(path, manifest, device, called, faults, random_operators(path))


class MaterialisedRunner:
    """`hypernet.onnx` once for a member, its outputs given to `network.onnx` as initializers."""

    def __init__(self, bundle: Path, manifest: Manifest, device: Device) -> None:
        if manifest.onnx is None:
            raise ParityError(f"{bundle} holds no ONNX files; build it with the format onnx")
        self._bundle, self._manifest, self._device = bundle, manifest, device
        self._supplied = manifest.onnx.supplied
        for name in (HYPERNET_FILE, NETWORK_FILE):
            check_model(bundle / name, manifest.files)
        check_supplied(bundle, manifest)
        signature = signature_of(manifest)
        self.signature_faults = (
            *faults_of_hypernet(bundle / HYPERNET_FILE, signature, manifest.slots),
            *faults_of_network(bundle / NETWORK_FILE, signature),
        )
        self.random = (*random_operators(bundle / HYPERNET_FILE), *random_operators(bundle / NETWORK_FILE))
        self._outputs = [output.name for output in manifest.outputs]
        _, reached = dependent(load_graph(bundle / NETWORK_FILE), self._supplied)
        unguarded = tuple(o.name for o in manifest.outputs if o.is_floating and o.name not in reached)
        self.limits = limited(Limits(unguarded=unguarded), device)
        self._hypernet = onnx_session(bundle / HYPERNET_FILE, onnxruntime.SessionOptions(), device)
        self._signature = manifest.signature
        self._member: tuple[object, ...] | None = None
        self._network: onnxruntime.InferenceSession | None = None
        self._unknown: list[Array | None] = []
        self.runtime = _runtime(self._hypernet)

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member; its session is kept until another member is asked for."""
        key = (cond_id, *(inputs[name].tobytes() for name in self._signature.conditions))
        if key != self._member or self._network is None:
            given = self._given(list(self._supplied), cond_id, inputs)
            unknown = _without_nan(given)
            if self._network is None or not _are_equal(unknown, self._unknown):
                self._network = None  # its memory is free before the next takes as much
                self._network = self._materialise(given)
            self._member, self._unknown = key, unknown
        return dict(zip(self._outputs, self._network.run(self._outputs, self._own(inputs)), strict=True))

    def with_marks(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array] | None:
        """The outputs where no maximum loses a NaN; None where it has no maxima."""
        path = self._bundle / NETWORK_FILE
        model = load_graph(path)
        if not mark_maxima(model):
            return None
        supplied = dict(zip(self._supplied, self._given(list(self._supplied), cond_id, inputs), strict=True))
        session = open_values(model, path, self._outputs, supplied=supplied)
        return dict(zip(self._outputs, session.run(self._outputs, self._own(inputs)), strict=True))

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The initializers of both files; stored tensors in their stored shape."""
        for name in (HYPERNET_FILE, NETWORK_FILE):
            held = constants(load_graph(self._bundle / name), self._bundle / name)
            own = {key: value for key, value in held.items() if key not in self._supplied}
            yield from _stored(self._manifest, own)

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """Every output of `hypernet.onnx`; those are all slots but the tied ones' other names."""
        names = [output.name for output in self._hypernet.get_outputs()]
        named = dict(zip(names, self._given(names, cond_id, inputs), strict=True))
        aliases = {slot.name: named[slot.alias_of] for slot in self._manifest.slots if slot.alias_of in named}
        return Given(named={**named, **aliases}, calls=())

    def _given(self, names: list[str], cond_id: int, inputs: Mapping[str, Array]) -> list[Array]:
        if not names:  # members are all the same; onnxruntime would give every output
            return []
        conditions = {name: inputs[name] for name in self._signature.conditions}
        feed = {COND_ID: np.array(cond_id, dtype=np.int64), **conditions}
        return self._hypernet.run(names, feed)  # type: ignore[no-any-return]

    def _own(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The network's inputs."""
        return {item.name: inputs[item.name] for item in self._signature.of_network}

    def _materialise(self, given: list[Array]) -> onnxruntime.InferenceSession:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in given]
        options = onnxruntime.SessionOptions()
        options.add_external_initializers(list(self._supplied), values)
        return onnx_session(self._bundle / NETWORK_FILE, options, self._device)


def _without_nan(given: list[Array]) -> list[Array | None]:
    """What an id that does not exist gives: None for tensors that are all NaN. Empty where none is: a member."""
    kept = [None if array.dtype.kind == "f" and array.size and np.isnan(array).all() else array for array in given]
    return kept if any(array is None for array in kept) else []


def _are_equal(one: list[Array | None], other: list[Array | None]) -> bool:
    """Whether two ids that do not exist give the same: then one session does for both."""
    pairs = list(zip(one, other, strict=False))
    same = (a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs)
    return len(one) == len(other) > 0 and all(same)


def _stored(manifest: Manifest, constants: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    shapes = {stored.name: stored.shape for stored in manifest.stored}
    for name, value in constants.items():
        yield name, as_stored(value, shapes.get(name, value.shape))


def _runtime(session: onnxruntime.InferenceSession) -> str:
    provider = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"onnxruntime {onnxruntime.__version__} {provider.lower()}"
