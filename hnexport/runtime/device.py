"""Sessions whose inputs and outputs lie on their own device (onnxruntime's IOBinding).

The image goes to the device once, the logits come back once, and nothing else moves: a member's number stays on the
device, and so do the weights that the graph generates from it.
"""

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.errors import ProviderError
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.obstacles import known_obstacle
from hnexport.runtime.providers import UnusableProviderError, running_on

__all__ = ["WITHOUT_GRAPH", "BoundSession", "GraphSession", "Place", "Runner", "on_graph_thread", "place_session"]

T = TypeVar("T")

_CUDA = "cuda"
_GRAPH_ID = "gpu_graph_id"  # of a run: which captured graph it is; -1 is none

# onnxruntime keeps captured graphs by thread, and no other thread of a process may allocate on the device while one
# captures. So whatever has to do with captured graphs happens in this one thread, the opening of their sessions too.
_GRAPH_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hnexport-cuda-graph")


def _run_options(graph: int) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, str(graph))
    return options


WITHOUT_GRAPH = _run_options(-1)
"""For a run that is neither captured nor a replay; a session without graphs takes no notice of it."""


def on_graph_thread(task: Callable[[], T]) -> T:
    """Do something in the thread of captured graphs, and wait for it. Not to be called in that thread itself."""
    return _GRAPH_THREAD.submit(task).result()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A device by onnxruntime's name, such as "cuda", and its number."""

    name: str
    index: int = 0

    def send(self, array: NDArray[Any]) -> onnxruntime.OrtValue:
        """A contiguous array there; on the CPU the value refers to the array, elsewhere it is a copy."""
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self.name, self.index)


class Runner(Protocol):
    """Calls of a session; `BoundSession` and `GraphSession` are two."""

    def __call__(self, images: NDArray[Any], member: int | None = None) -> NDArray[np.float32]:
        """Logits float32 `[batch, class]`; `member` is for a graph that has the input `cond_id`."""
        ...


class BoundSession:
    """Calls of a session with a binding of their own, so that several threads may call at once."""

    def __init__(self, session: onnxruntime.InferenceSession, place: Place) -> None:
        self._session, self._place = session, place
        self._members: dict[int, onnxruntime.OrtValue] = {}

    def __call__(self, images: NDArray[Any], member: int | None = None) -> NDArray[np.float32]:
        """Logits float32 `[batch, class]`; `member` is for a graph that has the input `cond_id`.

        Raises:
            ProviderError: the device cannot compute it; the message says what is missing.
        """
        with running_on(self._place.name):
            binding = self._session.io_binding()
            if member is not None:
                binding.bind_ortvalue_input("cond_id", self._member(member))
            binding.bind_ortvalue_input("image", self._place.send(images))
            binding.bind_output("logits", self._place.name, self._place.index)
            self._session.run_with_iobinding(binding, WITHOUT_GRAPH)
            return np.array(binding.get_outputs()[0].numpy())

    def _member(self, member: int) -> onnxruntime.OrtValue:
        found = self._members.get(member)
        if found is None:  # two threads may both send it; the second one's stays
            found = self._members[member] = self._place.send(np.array(member, dtype=np.int64))
        return found


@dataclass(frozen=True, kw_only=True)
class _Buffers:
    """What a captured graph reads and writes: the same addresses at every replay."""

    binding: onnxruntime.IOBinding
    options: onnxruntime.RunOptions
    image: onnxruntime.OrtValue
    cond_id: onnxruntime.OrtValue | None
    logits: onnxruntime.OrtValue


class GraphSession:
    """Calls of a session that replay a captured graph, one for each of the first few batch sizes that come.

    A member's number is an input like the image, copied into its place before the replay: one graph serves all members.
    """

    def __init__(self, session: onnxruntime.InferenceSession, place: Place, classes: int, limit: int) -> None:
        """For a session that was opened in the graph thread, with graphs of at most `limit` batch sizes."""
        self._session, self._place, self._classes, self._limit = session, place, classes, limit
        self._captured: dict[int, _Buffers] = {}
        self._uncaptured = BoundSession(session, place)
        weakref.finalize(self, _GRAPH_THREAD.submit, list[object].clear, [session]).atexit = False  # freed there too

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that have a graph, in the order in which they came."""
        return tuple(self._captured)

    def __call__(self, images: NDArray[Any], member: int | None = None) -> NDArray[np.float32]:
        """Logits float32 `[batch, class]`; `member` is for a graph that has the input `cond_id`.

        Raises:
            ProviderError: the call cannot be captured or replayed.
        """
        return on_graph_thread(lambda: self._call(images, member))

    def _call(self, images: NDArray[Any], member: int | None) -> NDArray[np.float32]:
        size = len(images)
        if size not in self._captured and len(self._captured) >= self._limit:
            return self._uncaptured(images, member)
        try:
            return self._replay(self._captured.get(size), images, member)
        except Exception as error:  # onnxruntime's exceptions have no common root
            why = known_obstacle(_CUDA, str(error))
            if why is not None:  # it would not run without a graph either
                raise UnusableProviderError(_CUDA, why) from error
            raise ProviderError(
                f"a batch of {size} cannot be run as a CUDA graph: {error}; "
                "load with CudaOptions(graph=False), or call it first where nothing else uses the GPU"
            ) from error

    def _replay(self, held: _Buffers | None, images: NDArray[Any], member: int | None) -> NDArray[np.float32]:
        """Run over fixed buffers; at a batch size's first run onnxruntime itself warms up and captures."""
        buffers = held or self._allocate(images, member)
        if held:
            buffers.image.update_inplace(images)
            if buffers.cond_id is not None:
                buffers.cond_id.update_inplace(np.array(member, dtype=np.int64))
        self._session.run_with_iobinding(buffers.binding, buffers.options)
        self._captured[len(images)] = buffers
        return np.array(buffers.logits.numpy())  # on the CPU it would be the buffer itself

    def _allocate(self, images: NDArray[Any], member: int | None) -> _Buffers:
        shape = (len(images), self._classes)
        made = _Buffers(
            binding=self._session.io_binding(),
            options=_run_options(len(self._captured) + 1),
            image=self._own(images),
            cond_id=None if member is None else self._own(np.array(member, dtype=np.int64)),
            logits=onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, np.float32, self._place.name, self._place.index
            ),
        )
        made.binding.bind_ortvalue_input("image", made.image)
        if made.cond_id is not None:
            made.binding.bind_ortvalue_input("cond_id", made.cond_id)
        made.binding.bind_ortvalue_output("logits", made.logits)
        return made

    def _own(self, array: NDArray[Any]) -> onnxruntime.OrtValue:
        """A buffer that is nobody else's, with the array's values."""
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            array.shape, array.dtype.type, self._place.name, self._place.index
        )
        value.update_inplace(array)
        return value


def place_session(
    open_session: Callable[[], onnxruntime.InferenceSession], cuda: CudaOptions, classes: int
) -> BoundSession | GraphSession:
    """Open a session on CUDA and bind it as the options say.

    Raises:
        ProviderError: the provider did not start.
    """
    place = Place(name=_CUDA, index=cuda.device)
    if cuda.graph:
        return GraphSession(on_graph_thread(open_session), place, classes, cuda.graph_batch_sizes)
    return BoundSession(open_session(), place)
