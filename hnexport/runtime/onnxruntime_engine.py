"""The engine over onnxruntime."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.runtime.memory import release_freed_memory
from hnexport.runtime.options import Strategy
from hnexport.runtime.providers import open_session
from hnexport.runtime.residents import ConditionalPredictor, Predictor

__all__ = ["HYPERNET_FILE", "MODEL_FILE", "NETWORK_FILE", "WEIGHTS_FILE", "OnnxruntimeEngine"]

logger = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
HYPERNET_FILE = "hypernet.onnx"
NETWORK_FILE = "network.onnx"
WEIGHTS_FILE = "weights.bin"


class OnnxruntimeEngine:
    """Sessions on one provider; they are opened when first needed.

    The weights file is mapped into memory, not copied: its pages are shared with every other process that maps it.
    onnxruntime copies the initializers that `add_external_initializers` supplies (reordered into the layout of its
    convolutions), so a member costs its weights once. Should a version of onnxruntime refer to them instead, the first
    member that is made shows it, and they are kept.
    """

    name = "onnxruntime"
    files: Mapping[Strategy, tuple[str, ...]] = MappingProxyType(
        {
            Strategy.MATERIALISED: (HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE),
            Strategy.GENERATED: (MODEL_FILE, WEIGHTS_FILE),
        }
    )

    def __init__(self, folder: Path, manifest: Manifest, provider: str, threads: int | None) -> None:
        """An engine whose sessions are on `provider`, one of `providers.PROVIDERS`, with so many threads each."""
        self.provider = provider
        self._folder, self._manifest, self._threads = folder, manifest, threads
        self._hypernet: onnxruntime.InferenceSession | None = None
        self._refers_to_weights: bool | None = None  # None until the first member has shown it

    @property
    def member_bytes(self) -> int:
        """The size of one member's weights, in bytes."""
        return sum(4 * math.prod(output.shape) for output in self._hypernet_session().get_outputs())

    def weights(self, member: int) -> dict[str, NDArray[np.float32]]:
        """The tensors of one member that `network.onnx` does not hold itself, by name."""
        if self._manifest.onnx is None or not self._manifest.onnx.supplied:
            return {}
        names = list(self._manifest.onnx.supplied)
        return dict(zip(names, self._hypernet_session().run(names, _feed(member)), strict=True))

    def materialise(self, member: int) -> Predictor:
        """The plain network of one member, with its weights as constants.

        Raises:
            BundleError: onnxruntime cannot load the files.
            ProviderError: the provider did not start.
        """
        weights = self.weights(member)
        options = self._session_options()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
        session = open_session(self._folder / NETWORK_FILE, options, self.provider)
        if self._refers_to_weights is None:
            self._refers_to_weights = self._is_changed_by(session, weights)
            if self._refers_to_weights:
                logger.info("onnxruntime %s refers to supplied weights: they are kept", onnxruntime.__version__)
                return self.materialise(member)
        kept = values if self._refers_to_weights else None
        del options, values, weights
        release_freed_memory()
        return _NetworkPredictor(session, kept)

    def generate(self) -> ConditionalPredictor:
        """All members in one session, which generates a member's weights in every call.

        Raises:
            BundleError: onnxruntime cannot load the file.
            ProviderError: the provider did not start.
        """
        session = open_session(self._folder / MODEL_FILE, self._session_options(prepack=False), self.provider)

        def predict(member: int, images: NDArray[Any]) -> NDArray[np.float32]:
            return session.run(["logits"], {**_feed(member), "image": images})[0]  # type: ignore[no-any-return]

        return predict

    def _hypernet_session(self) -> onnxruntime.InferenceSession:
        if self._hypernet is None:  # on the CPU whatever the provider: that is where the weights are needed
            self._hypernet = open_session(self._folder / HYPERNET_FILE, self._session_options(prepack=False), "cpu")
        return self._hypernet

    def _session_options(self, *, prepack: bool = True) -> onnxruntime.SessionOptions:
        """Options of every session.

        Threads stop spinning when a call ends: otherwise two members in turn fight for the cores, each with its own
        threads (WRN-28-10, batch 1, 2 cores: 61 ms instead of 27 ms). Without an arena a session keeps no activations
        between calls, at no cost in time. Prepacking would copy the hypernetwork's bases out of the mapped file,
        150 MB for WRN-28-10, and gains nothing for a single row.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or 0
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.enable_cpu_mem_arena = False
        if not prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        return options

    def _is_changed_by(self, session: onnxruntime.InferenceSession, weights: Mapping[str, NDArray[np.float32]]) -> bool:
        """Whether a session's logits change when the arrays it was given do (which are NaN afterwards)."""
        image = self._manifest.inputs[1]
        feed = {"image": np.zeros((1, *_sizes(image.shape)), dtype=image.dtype)}
        before = session.run(["logits"], feed)[0]
        for weight in weights.values():
            weight.fill(np.nan)
        return not np.array_equal(before, session.run(["logits"], feed)[0], equal_nan=True)


class _NetworkPredictor:
    """A plain network; `kept` holds the arrays that its session may refer to."""

    def __init__(self, session: onnxruntime.InferenceSession, kept: object) -> None:
        self._session, self._kept = session, kept

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        return self._session.run(["logits"], {"image": images})[0]  # type: ignore[no-any-return]


def _feed(member: int) -> dict[str, NDArray[np.int64]]:
    return {"cond_id": np.array(member, dtype=np.int64)}


def _sizes(shape: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(size for size in shape if isinstance(size, int))
