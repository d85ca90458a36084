"""The graphs that `hnexport tune` folded for this machine: a generator of kernels, and one network for all members."""

import math
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.names import COND_ID
from hnexport.runtime.providers import open_session
from hnexport.runtime.residents import Arrays
from hnexport.runtime.session_options import session_options
from hnexport.runtime.tuned import FOLDED_HYPERNET_FILE, FOLDED_NETWORK_FILE

__all__ = ["FoldedNetwork"]

_PAGE = 4096  # bytes
_DTYPES = {"float": "float32", "double": "float64"}  # as onnxruntime names them, where that is not NumPy's name


class FoldedNetwork:
    """Members whose kernels lie in memory in onnxruntime's own blocked format, fed to one session as inputs.

    A member costs its weights and nothing else, and comes into being in the time that generating them takes: no
    session is made and no kernel is reordered.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Open the graphs in `folder`, each with so many threads.

        Raises:
            BundleError: onnxruntime cannot load them.
        """
        self._hypernet, self._network = (
            _open(folder / name, threads) for name in (FOLDED_HYPERNET_FILE, FOLDED_NETWORK_FILE)
        )
        self._weights = {output.name: (tuple(output.shape), _dtype(output)) for output in self._hypernet.get_outputs()}
        self._outputs = [output.name for output in self._network.get_outputs()]
        self._spare: deque[list[NDArray[np.generic]]] = deque(maxlen=1)

    @property
    def member_bytes(self) -> int:
        """The size of one member's weights, in bytes."""
        return sum(dtype.itemsize * math.prod(shape) for shape, dtype in self._weights.values())

    def materialise(self, member: int) -> "FoldedMember":
        """Generate one member's weights; a member that does not exist has NaN weights."""
        try:
            weights = self._spare.pop()  # of a member that is gone: their pages are there already
        except IndexError:
            weights = _allocate(list(self._weights.values()))
        binding = self._hypernet.io_binding()
        binding.bind_cpu_input(COND_ID, np.array(member, dtype=np.int64))
        for name, array in zip(self._weights, weights, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._hypernet.run_with_iobinding(binding)
        made = FoldedMember(self._network, dict(zip(self._weights, weights, strict=True)), self._outputs)
        weakref.finalize(made, self._spare.append, weights).atexit = False
        return made


class FoldedMember:
    """One member: the session that all share, and its weights."""

    def __init__(
        self, network: onnxruntime.InferenceSession, weights: dict[str, NDArray[np.generic]], outputs: list[str]
    ) -> None:
        self._network, self._outputs = network, outputs
        self._feed = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}

    def __call__(self, inputs: Arrays) -> Arrays:
        """The outputs by name."""
        given = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        values = self._network.run_with_ort_values(self._outputs, {**self._feed, **given})
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}


def _open(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    options = session_options(threads, prepack=False)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # they are optimised already
    return open_session(path, options, "cpu")


def _dtype(output: onnxruntime.NodeArg) -> np.dtype[np.generic]:
    """The dtype of a session's output, `tensor(float)` for instance."""
    name = output.type.removeprefix("tensor(").removesuffix(")")
    dtype: np.dtype[np.generic] = np.dtype(_DTYPES.get(name, name))
    return dtype


def _allocate(weights: Sequence[tuple[tuple[int, ...], np.dtype[np.generic]]]) -> list[NDArray[np.generic]]:
    """Arrays in one piece of memory, which goes back to the system when they are freed, as small pieces might not.

    Each starts on a page: kernels that straddle cache lines make convolutions slower by 8 %.
    """
    starts, size = [], 0
    for shape, dtype in weights:
        starts.append(size)
        size += -(-dtype.itemsize * math.prod(shape) // _PAGE) * _PAGE
    memory = np.empty(size + _PAGE, np.uint8)
    first = -memory.ctypes.data % _PAGE
    return [
        memory[first + start : first + start + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
        for (shape, dtype), start in zip(weights, starts, strict=True)
    ]
