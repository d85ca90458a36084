"""The engine over onnxruntime."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import BundleError, ProviderError
from hnexport.installed import is_complete
from hnexport.machine.memory import release_freed_memory
from hnexport.names import COND_ID, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE, WEIGHTS_FILE
from hnexport.runtime.advice import how_to_tune
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.declared import check_declared
from hnexport.runtime.device import WITHOUT_GRAPH, Runner, can_capture, place_session
from hnexport.runtime.folded import FoldedNetwork
from hnexport.runtime.half import require_half
from hnexport.runtime.int8 import Int8Graphs, network_with, without_saturation
from hnexport.runtime.options import Precision, Strategy
from hnexport.runtime.providers import open_session, running_bundle
from hnexport.runtime.references import is_changed_by
from hnexport.runtime.residents import NO_CONDITIONS, Arrays, ConditionalPredictor, Predictor
from hnexport.runtime.samples import trial_inputs
from hnexport.runtime.session_options import session_options
from hnexport.runtime.shares import makes_bases, member_bytes
from hnexport.runtime.threads import threads_of_each
from hnexport.runtime.tuned import find_tuned
from hnexport.spec import Signature

__all__ = ["OnnxruntimeEngine"]

logger = logging.getLogger(__name__)


class OnnxruntimeEngine:
    """Sessions on one provider; they are opened when first needed.

    On CUDA a member is materialised by generating its weights on the CPU, once; its session then copies them to the
    device and keeps them there. Where weights are generated in every call, that happens on the device.

    The weights file is mapped into memory, not copied: its pages are shared with every other process that maps it.
    onnxruntime copies the initializers that `add_external_initializers` supplies (reordered into the blocked format of
    its convolutions), so a member costs its weights once. Should a version of onnxruntime refer to them instead, the
    first member that is made shows it, and they are kept.
    """

    name = "onnxruntime"
    files: Mapping[Strategy, tuple[str, ...]] = MappingProxyType(
        {
            Strategy.MATERIALISED: (HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE),
            Strategy.FOLDED: (),  # they lie in a cache, in a folder whose name is made of the bundle's checksums
            Strategy.GENERATED: (MODEL_FILE, WEIGHTS_FILE),
        }
    )

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        provider: str,
        threads: int | None,
        *,
        precision: Precision = Precision.FLOAT32,
        cuda: CudaOptions | None = None,
        trial: Callable[[], Arrays] | None = None,
        contents: Mapping[str, memoryview] | None = None,
        opening: Callable[[Iterable[str]], AbstractContextManager[None]] = lambda _: nullcontext(),
        int8: Path | None = None,
    ) -> None:
        """An engine whose sessions are on `provider`, one that is `offered`, with so many threads each.

        Where `threads` is None, what this process may use is divided: `sessions` says among how many at most.
        `precision` other than "float32" and `cuda` are for the provider "cuda" alone. `trial` gives inputs of one
        sample that the network takes; without it they are made up. `contents` has the files' bytes by name where they
        are in memory. `opening` surrounds each opening of files of the bundle, and refuses
        others. `int8` is the folder of the graphs in int8, where that is the precision.
        """
        self.provider, self.precision = provider, precision
        self._signature = manifest.signature
        self._outputs = [output.name for output in self._signature.outputs]
        self._cuda = self._placed(cuda or CudaOptions()) if provider == "cuda" else None
        self._folder, self._manifest, self._threads = folder, manifest, threads
        self._contents, self._opening = contents, opening
        self._trial = trial or (lambda: trial_inputs(self._signature))
        self.sessions = 1 + manifest.members  # the hypernetwork, and all members resident
        self._folds = not makes_bases(manifest)
        self._int8 = Int8Graphs(int8, threads) if int8 is not None else None
        self._hypernet: onnxruntime.InferenceSession | None = None
        self._folded: FoldedNetwork | None = None
        self._refers_to_weights: bool | None = None  # None until the first member has shown it

    @property
    def member_bytes(self) -> int:
        """The size of one member's weights, in bytes."""
        return member_bytes(self._manifest)

    def weights(self, member: int, conditions: Arrays = NO_CONDITIONS) -> dict[str, NDArray[np.generic]]:
        """The tensors of one member that `network.onnx` does not hold itself, by name."""
        if self._manifest.onnx is None or not self._manifest.onnx.supplied:
            return {}
        names = list(self._manifest.onnx.supplied)
        session = self._hypernet_session()
        with running_bundle("cpu"):
            return dict(zip(names, session.run(names, {**_feed(member), **conditions}), strict=True))

    def materialise(self, member: int, conditions: Arrays = NO_CONDITIONS) -> Predictor:
        """The plain network of one member and its conditions, with its weights as constants.

        Raises:
            BundleError: onnxruntime cannot load the files.
            ProviderError: the provider did not start, or the precision is float16, whose members are generated.
        """
        if self.precision is Precision.FLOAT16:
            raise ProviderError("a float16 member is generated in every call: choose strategy='generated'")
        kept: list[object] = []
        run = self._runner(lambda: self._network_session(member, conditions, kept), self._signature.materialised)
        return _NetworkPredictor(run, kept)

    def _network_session(self, member: int, conditions: Arrays, kept: list[object]) -> onnxruntime.InferenceSession:
        """A session of one member's network; what it may refer to is added to `kept`."""
        weights, path = self.weights(member, conditions), self._folder / NETWORK_FILE
        options = session_options(self._threads_of_each())
        if self._int8 is not None:
            weights, path = self._int8.parameters(member, weights), self._int8.network
            without_saturation(options)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
        session = self._open(path, options)
        check_declared(path, session, self._signature.of_network, self._signature.outputs)
        if self._refers_to_weights is None:
            self._refers_to_weights = self._shows_reference(session, weights)
            if self._refers_to_weights:
                logger.info("onnxruntime %s refers to supplied weights: they are kept", onnxruntime.__version__)
                return self._network_session(member, conditions, kept)
        if self._refers_to_weights:
            kept += values
        del options, values, weights
        release_freed_memory()
        return session

    def write_int8(self, folder: Path, member: int, conditions: Arrays = NO_CONDITIONS) -> Path:
        """One member's network in int8 as a file in a folder, for another runtime.

        Raises:
            ProviderError: the precision is another one.
        """
        if self._int8 is None:
            raise ProviderError(f"the precision is {self.precision.value}: there is no network in int8")
        return network_with(folder, self._int8, self._int8.parameters(member, self.weights(member, conditions)))

    def fold(self, member: int) -> Predictor:
        """One member over the graphs that are tuned for this machine: its weights, and a network that all share.

        Raises:
            ProviderError: the provider is not the CPU, or this machine has no tuned graphs of the bundle.
            BundleError: onnxruntime cannot load them.
        """
        if self._folded is None:
            folder = find_tuned(self._manifest) if self.provider == "cpu" else None
            if folder is None and not any(item.hypernet is not None for item in self._manifest.stored):
                raise ProviderError(
                    f"{self._manifest.name} generates no weights: there is nothing to fold, choose another strategy"
                )
            if folder is None:
                there = self._contents is None and is_complete()
                raise ProviderError(
                    f"{self._manifest.name} is not tuned for this machine: "
                    f"{how_to_tune(self._on_disk)}, {'load with tune=True, ' if there else ''}"
                    "or choose another strategy (tuned graphs are for the CPU provider)"
                )
            self._folded = FoldedNetwork(folder, self._threads_of_each())
        return self._folded.materialise(member)

    @property
    def _on_disk(self) -> Path | None:
        """The bundle's folder, where it has one."""
        return self._folder if self._contents is None else None

    def generate(self) -> ConditionalPredictor:
        """All members in one session, which generates a member's weights in every call.

        Raises:
            BundleError: onnxruntime cannot load the file.
            ProviderError: the provider did not start.
            RuntimeInputError: the precision is float16, and this user's cache holds no such graph.
        """
        half = self.precision is Precision.FLOAT16
        path = require_half(self._manifest, self._on_disk) if half else self._folder / MODEL_FILE
        options = session_options(self._threads_of_each(), prepack=False)

        def open_it() -> onnxruntime.InferenceSession:
            session = self._open(path, options, fold=half or self._folds)
            if not half:
                check_declared(path, session, self._manifest.inputs, self._signature.outputs)
            return session

        run = self._runner(open_it, self._signature)
        return lambda member, inputs: run(inputs, member)

    def _runner(self, open_it: Callable[[], onnxruntime.InferenceSession], signature: Signature) -> Runner:
        """A function of inputs, and of a member where the graph takes one."""
        if self._cuda is not None:
            return place_session(open_it, self._cuda, signature)
        session = open_it()

        def run(inputs: Arrays, member: int | None = None) -> Arrays:
            feed = inputs if member is None else {**_feed(member), **inputs}
            with running_bundle(self.provider):
                return dict(zip(self._outputs, session.run(self._outputs, feed), strict=True))

        return run

    def _placed(self, cuda: CudaOptions) -> CudaOptions:
        """The options, without CUDA graphs where the signature does not allow them."""
        if cuda.graph and not can_capture(self._signature):
            logger.info("calls are not captured as CUDA graphs: this network has other inputs than one batch of floats")
            return replace(cuda, graph=False)
        return cuda

    def _open(
        self, path: Path, options: onnxruntime.SessionOptions, *, fold: bool = True
    ) -> onnxruntime.InferenceSession:
        tf32 = self.precision is Precision.TF32
        settings = {} if self._cuda is None else self._cuda.provider_options(tf32=tf32)
        return self._session(path, options, self.provider, settings, fold=fold)

    def _session(
        self,
        path: Path,
        options: onnxruntime.SessionOptions,
        provider: str,
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        fold: bool,
    ) -> onnxruntime.InferenceSession:
        own = path.parent == self._folder  # not of the cache
        with self._opening((path.name, WEIGHTS_FILE)) if own else nullcontext():
            return open_session(self._graph(path, options), options, provider, settings, fold=fold)

    def _graph(self, path: Path, options: onnxruntime.SessionOptions) -> Path | bytes:
        """A file of the bundle for onnxruntime; out of memory with its weights, of which onnxruntime keeps a copy."""
        if self._int8 is not None and path == self._int8.network:
            return self._int8.graph
        if self._contents is None or path.parent != self._folder:
            return path
        weights = self._contents[WEIGHTS_FILE]
        if len(weights):
            options.add_external_initializers_from_files_in_memory([WEIGHTS_FILE], [weights], [len(weights)])
        return bytes(self._contents[path.name])

    def _threads_of_each(self) -> int:
        return threads_of_each(self.sessions, self._threads)

    def _hypernet_session(self) -> onnxruntime.InferenceSession:
        if self._hypernet is None:  # on the CPU whatever the provider: that is where the weights are needed
            options = session_options(self._threads_of_each(), prepack=False)
            path, supplied = self._folder / HYPERNET_FILE, self._manifest.onnx.supplied if self._manifest.onnx else ()
            session = self._session(path, options, "cpu", fold=self._folds)
            slots = [slot for slot in self._manifest.slots if slot.name in supplied]
            check_declared(path, session, (self._manifest.inputs[0], *self._signature.of_generator), slots)
            self._hypernet = session
        return self._hypernet

    def _shows_reference(self, session: onnxruntime.InferenceSession, weights: Arrays) -> bool:
        """Whether a session computes with the very arrays that it was given; where that cannot be told, it might."""
        try:
            inputs = self._trial()
            return is_changed_by(lambda: self._tried(session, inputs), weights.values())
        except BundleError as error:
            logger.info("no sample is known that %s takes: %s", self._manifest.name, error)
            return True

    def _tried(self, session: onnxruntime.InferenceSession, inputs: Arrays) -> list[NDArray[np.generic]]:
        with running_bundle(self.provider):
            own = {item.name: inputs[item.name] for item in self._signature.of_network}
            return session.run(self._outputs, own, WITHOUT_GRAPH)  # type: ignore[no-any-return]


class _NetworkPredictor:
    """A plain network; `kept` holds the arrays that its session may refer to."""

    def __init__(self, run: Runner, kept: object) -> None:
        self._run, self._kept = run, kept

    def __call__(self, inputs: Arrays) -> Arrays:
        return self._run(inputs)


def _feed(member: int) -> dict[str, NDArray[np.int64]]:
    return {COND_ID: np.array(member, dtype=np.int64)}
