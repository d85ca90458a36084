"""The graphs that `hnexport tune` folded for this machine: a generator of kernels, and one network for all members."""

import math
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.runtime.providers import open_session
from hnexport.runtime.session_options import session_options
from hnexport.runtime.tuned import FOLDED_HYPERNET_FILE, FOLDED_NETWORK_FILE

__all__ = ["FoldedNetwork"]

_PAGE = 1024  # elements


class FoldedNetwork:
    """Members whose kernels lie in memory in onnxruntime's own blocked layout, fed to one session as inputs.

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
        self._shapes: dict[str, tuple[int, ...]] = {
            output.name: tuple(output.shape) for output in self._hypernet.get_outputs()
        }
        self._spare: deque[list[NDArray[np.float32]]] = deque(maxlen=1)

    @property
    def member_bytes(self) -> int:
        """The size of one member's weights, in bytes."""
        return sum(4 * math.prod(shape) for shape in self._shapes.values())

    def materialise(self, member: int) -> "FoldedMember":
        """Generate one member's weights; a member that does not exist has NaN weights."""
        try:
            weights = self._spare.pop()  # of a member that is gone: their pages are there already
        except IndexError:
            weights = _allocate(list(self._shapes.values()))
        binding = self._hypernet.io_binding()
        binding.bind_cpu_input("cond_id", np.array(member, dtype=np.int64))
        for name, array in zip(self._shapes, weights, strict=True):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self._hypernet.run_with_iobinding(binding)
        made = FoldedMember(self._network, dict(zip(self._shapes, weights, strict=True)))
        weakref.finalize(made, self._spare.append, weights).atexit = False
        return made


class FoldedMember:
    """One member: the session that all share, and its weights."""

    def __init__(self, network: onnxruntime.InferenceSession, weights: dict[str, NDArray[np.float32]]) -> None:
        self._network = network
        self._feed = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Logits float32 `[batch, class]`."""
        image = onnxruntime.OrtValue.ortvalue_from_numpy(images)
        logits = self._network.run_with_ort_values(["logits"], {**self._feed, "image": image})[0]
        return logits.numpy()  # type: ignore[no-any-return]


def _open(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    options = session_options(threads, prepack=False)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # they are optimised already
    return open_session(path, options, "cpu")


def _allocate(shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.float32]]:
    """Arrays in one piece of memory, which goes back to the system when they are freed, as small pieces might not.

    Each starts on a page: kernels that straddle cache lines make convolutions slower by 8 %.
    """
    starts, size = [], 0
    for shape in shapes:
        starts.append(size)
        size += -(-math.prod(shape) // _PAGE) * _PAGE
    memory = np.empty(size + _PAGE, np.float32)
    first = -memory.ctypes.data % (4 * _PAGE) // 4
    return [
        memory[first + start : first + start + math.prod(shape)].reshape(shape)
        for shape, start in zip(shapes, starts, strict=True)
    ]
