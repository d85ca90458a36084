"""Sessions whose inputs and outputs lie on their own device (onnxruntime's IOBinding).

The inputs go to the device once, the outputs come back once, and nothing else moves: a member's number stays on the
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
from hnexport.names import COND_ID
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.obstacles import known_obstacle
from hnexport.runtime.providers import UnusableProviderError, running_on
from hnexport.runtime.residents import Arrays
from hnexport.spec import BATCH, OutputSpec, Signature

__all__ = [
    "WITHOUT_GRAPH",
    "BoundSession",
    "GraphSession",
    "Place",
    "Runner",
    "can_capture",
    "on_graph_thread",
    "place_session",
]

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

    def __call__(self, inputs: Arrays, member: int | None = None) -> Arrays:
        """The outputs by name; `member` is for a graph that has the input `cond_id`."""
        ...


class BoundSession:
    """Calls of a session with a binding of their own, so that several threads may call at once."""

    def __init__(self, session: onnxruntime.InferenceSession, place: Place, signature: Signature) -> None:
        self._session, self._place = session, place
        self._outputs = [output.name for output in signature.outputs]
        self._members: dict[int, onnxruntime.OrtValue] = {}

    def __call__(self, inputs: Arrays, member: int | None = None) -> Arrays:
        """The outputs by name; `member` is for a graph that has the input `cond_id`.

        Raises:
            ProviderError: the device cannot compute it; the message says what is missing.
        """
        with running_on(self._place.name):
            binding = self._session.io_binding()
            if member is not None:
                binding.bind_ortvalue_input(COND_ID, self._member(member))
            for name, array in inputs.items():
                binding.bind_ortvalue_input(name, self._place.send(array))
            for name in self._outputs:
                binding.bind_output(name, self._place.name, self._place.index)
            self._session.run_with_iobinding(binding, WITHOUT_GRAPH)
            values = (np.array(value.numpy()) for value in binding.get_outputs())
            return dict(zip(self._outputs, values, strict=True))

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
    given: onnxruntime.OrtValue
    cond_id: onnxruntime.OrtValue | None
    output: onnxruntime.OrtValue


def can_capture(signature: Signature) -> bool:
    """Whether calls can be captured as CUDA graphs: one batch of floats or pixels in, one batch of floats out.

    A captured graph reads and writes fixed places, so that all sizes but the batch's have to be known. Other whole
    numbers are mostly indices or lengths, of which a graph computes shapes, on the CPU: that cannot be captured.
    """
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        return False
    given, output = signature.inputs[0], signature.outputs[0]
    open_axes = [axis for tensor in (given, output) for axis in tensor.row if isinstance(axis, str)]
    pixels = given.is_floating or given.dtype == "uint8"
    return given.shape[:1] == output.shape[:1] == (BATCH,) and pixels and output.is_floating and not open_axes


class GraphSession:
    """Calls of a session that replay a captured graph, one for each of the first few batch sizes that come.

    A member's number is an input like any other, copied into its place before the replay: one graph serves all members.
    """

    def __init__(self, session: onnxruntime.InferenceSession, place: Place, signature: Signature, limit: int) -> None:
        """For a session that was opened in the graph thread, with graphs of at most `limit` batch sizes.

        `signature` is one that `can_capture` takes.
        """
        self._session, self._place, self._limit = session, place, limit
        self._input: str = signature.inputs[0].name
        self._output: OutputSpec = signature.outputs[0]
        self._captured: dict[int, _Buffers] = {}
        self._uncaptured = BoundSession(session, place, signature)
        weakref.finalize(self, _GRAPH_THREAD.submit, list[object].clear, [session]).atexit = False  # freed there too

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that have a graph, in the order in which they came."""
        return tuple(self._captured)

    def __call__(self, inputs: Arrays, member: int | None = None) -> Arrays:
        """The outputs by name; `member` is for a graph that has the input `cond_id`.

        Raises:
            ProviderError: the call cannot be captured or replayed.
        """
        return on_graph_thread(lambda: self._call(inputs, member))

    def _call(self, inputs: Arrays, member: int | None) -> Arrays:
        array = inputs[self._input]
        size = len(array)
        if size not in self._captured and len(self._captured) >= self._limit:
            return self._uncaptured(inputs, member)
        try:
            return {self._output.name: self._replay(self._captured.get(size), array, member)}
        except Exception as error:  # onnxruntime's exceptions have no common root
            why = known_obstacle(_CUDA, str(error))
            if why is not None:  # it would not run without a graph either
                raise UnusableProviderError(_CUDA, why) from error
            raise ProviderError(
                f"a batch of {size} cannot be run as a CUDA graph: {error}; "
                "load with CudaOptions(graph=False), or call it first where nothing else uses the GPU"
            ) from error

    def _replay(self, held: _Buffers | None, array: NDArray[Any], member: int | None) -> NDArray[np.generic]:
        """Run over fixed buffers; at a batch size's first run onnxruntime itself warms up and captures."""
        buffers = held or self._allocate(array, member)
        if held:
            buffers.given.update_inplace(array)
            if buffers.cond_id is not None:
                buffers.cond_id.update_inplace(np.array(member, dtype=np.int64))
        self._session.run_with_iobinding(buffers.binding, buffers.options)
        self._captured[len(array)] = buffers
        return np.array(buffers.output.numpy())  # on the CPU it would be the buffer itself

    def _allocate(self, array: NDArray[Any], member: int | None) -> _Buffers:
        sizes = [size for size in self._output.row if isinstance(size, int)]
        made = _Buffers(
            binding=self._session.io_binding(),
            options=_run_options(len(self._captured) + 1),
            given=self._own(array),
            cond_id=None if member is None else self._own(np.array(member, dtype=np.int64)),
            output=onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                (len(array), *sizes), np.dtype(self._output.dtype).type, self._place.name, self._place.index
            ),
        )
        made.binding.bind_ortvalue_input(self._input, made.given)
        if made.cond_id is not None:
            made.binding.bind_ortvalue_input(COND_ID, made.cond_id)
        made.binding.bind_ortvalue_output(self._output.name, made.output)
        return made

    def _own(self, array: NDArray[Any]) -> onnxruntime.OrtValue:
        """A buffer that is nobody else's, with the array's values."""
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            array.shape, array.dtype.type, self._place.name, self._place.index
        )
        value.update_inplace(array)
        return value


def place_session(
    open_session: Callable[[], onnxruntime.InferenceSession], cuda: CudaOptions, signature: Signature
) -> BoundSession | GraphSession:
    """Open a session on CUDA and bind it as the options say.

    Raises:
        ProviderError: the provider did not start.
    """
    place = Place(name=_CUDA, index=cuda.device)
    if cuda.graph:
        return GraphSession(on_graph_thread(open_session), place, signature, cuda.graph_batch_sizes)
    return BoundSession(open_session(), place, signature)
