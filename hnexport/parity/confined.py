"""Run a stranger's program in a confined process: the parent's side, with the contract of `TorchRunner`."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.confine.frames import Frame
from hnexport.confine.limits import Budget, missing_for_confinement
from hnexport.confine.process import ConfinedProcess, EndedError
from hnexport.errors import NotRunError
from hnexport.names import COND_IDS
from hnexport.parity.limits import Limits
from hnexport.parity.program_limits import ProgramLimits
from hnexport.parity.signature import GraphSignature, axis_sizes
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.frames import unpack_given, unpack_trace
from hnexport.records import RecordError, from_json, to_json
from hnexport.rows import batch_size
from hnexport.spec import BATCH, MEMBER, Slot, TensorSpec
from hnexport.spelling import spelled

__all__ = ["ConfinedRunner", "budget_of"]

Array = NDArray[np.generic]
T = TypeVar("T")

_MIB = 2**20
# Processor time: what every program may cost, and by how much. A network of n weights multiplies at most n times for
# each pixel; a slow processor does 10^10 of them in a second, a present one thirty times as many.
_BASE_SECONDS, _QUESTION_SECONDS, _IDLE_SECONDS = 4.0, 0.1, 4.0
_BYTES_A_SECOND, _PRODUCTS_A_SECOND = 10 * _MIB, 1e10
_MOST_SECONDS = 3600.0  # for one question: a manifest can claim a sample of any size
_MEMORY_BYTES = 512 * _MIB
_SAMPLES_TRIED = 32  # when a program is loaded, to find out which batches it runs
_LIMITS_BYTES = 2**16
_OPEN_SIZE = 64  # of an open axis of which no sample is known
_MOST_FAULTS = 32


def budget_of(file_bytes: int, slots: Sequence[Slot]) -> Budget:
    """What a program may take in all, beside each question's own time; see docs/howto/trust.md."""
    return Budget(
        memory_bytes=_MEMORY_BYTES + 8 * file_bytes + 12 * _slot_bytes(slots),
        cpu_seconds=_BASE_SECONDS + file_bytes / _BYTES_A_SECOND,
        idle_seconds=_IDLE_SECONDS + file_bytes / _BYTES_A_SECOND,
    )


class ConfinedRunner:
    """A TorchScript or `.pt2` file `(cond_id, inputs) -> outputs` under PyTorch, in a process that can only compute."""

    def __init__(
        self, content: bytes, name: str, manifest: Manifest, signature: GraphSignature, *, own: bool = False
    ) -> None:
        """Start the process and load the program there; it uses the CPU, whatever else there is.

        Args:
            own: whether it is a bundle's own file: then another signature is told by `signature_faults`.

        Raises:
            NotRunError: the system confines no process, or the program could not be loaded.
        """
        if (missing := missing_for_confinement()) is not None:
            raise NotRunError(_unconfined(missing))
        self._name, self._manifest, self._signature, self._file_bytes = name, manifest, signature, len(content)
        self._outputs = [item.name for item in signature.outputs]
        self._weights = _slot_bytes(manifest.slots) // 4
        budget = budget_of(len(content), manifest.slots)
        self._answer_bytes = budget.memory_bytes
        self._process = ConfinedProcess("hnexport.parity.confined_child", budget)
        self._confine(budget, own=own)
        seconds = self._seconds(_SAMPLES_TRIED)
        loaded = self._ask("load", [("program", np.frombuffer(content, np.uint8))], seconds, _LIMITS_BYTES)
        self.runtime = f"torch {torch.__version__} cpu, confined"
        if "error" in loaded.meta:
            self._process.close()
            raise NotRunError(self._reason(_text(loaded.meta["error"])))
        self.limits = self._limits(loaded.meta.get("limits"))
        self.signature_faults = _faults(loaded.meta.get("faults")) if own else ()

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        samples = self._samples(inputs)
        limit = self._bytes(self._signature.outputs, inputs, samples)
        answer = self._question("run", inputs.items(), samples, limit, cond_id=cond_id)
        return self._arrays(answer, self._outputs)

    def ensemble(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The program's method `ensemble`: several members in one call."""
        return self._several("ensemble", cond_ids, inputs)

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a program with the signature of `ensemble.onnx` returns."""
        return self._several("together", cond_ids, inputs)

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        yield from self._question("stored", [], 0, 2 * self._file_bytes + _MIB).arrays

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the program gives its operators."""
        answer = self._question("weights", inputs.items(), 1, 16 * self._weights + _MIB, cond_id=cond_id)
        return self._unpacked(unpack_given, answer)

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every floating-point value of one call, and the tensors that the program gives its operators."""
        answer = self._question("trace", inputs.items(), self._samples(inputs), self._answer_bytes, cond_id=cond_id)
        return self._unpacked(unpack_trace, answer)

    def _several(self, question: str, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        specs, samples = self._signature.summaries, self._samples(inputs)
        limit = self._bytes(specs, inputs, samples, len(cond_ids))
        arrays = [(COND_IDS, cond_ids), *inputs.items()]
        answer = self._question(question, arrays, len(cond_ids) * samples, limit)
        return self._arrays(answer, [item.name for item in specs])

    def _unpacked(self, unpack: Callable[[Mapping[str, Any], Iterable[tuple[str, Array]]], T], answer: Frame) -> T:
        try:
            return unpack(answer.meta, answer.arrays)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            self._process.close()
            raise NotRunError(self._reason("its answer is malformed: it is no trace")) from error

    def _limits(self, words: Any) -> Limits:
        """What the program was found to be limited to; it cannot say more than `Limits` holds."""
        try:
            return from_json(ProgramLimits, words).limits()
        except (RecordError, ValueError) as error:
            self._process.close()
            raise NotRunError(self._reason(f"its answer is malformed: {error}")) from error

    def _confine(self, budget: Budget, *, own: bool) -> None:
        meta = {
            "memory_bytes": budget.memory_bytes,
            "threads": torch.get_num_threads(),
            "signature": to_json(self._signature),
            "name": self._name,
            "own": own,
        }
        try:
            confined = self._process.start(meta)
        except EndedError as error:
            raise NotRunError(f"not run: not trusted, and no confined process could be started: {error}") from error
        if confined.meta != {"confined": True}:
            self._process.close()
            raise NotRunError(_unconfined(_text(confined.meta.get("reason", "no reason was given"))))

    def _question(
        self, question: str, arrays: Iterable[tuple[str, Array]], samples: int, answer_bytes: int, **meta: int
    ) -> Frame:
        """Ask; what the program raises for a member that does not exist is raised here, as its runtime would."""
        answer = self._ask(question, arrays, self._seconds(samples), answer_bytes, **meta)
        if "error" in answer.meta:
            why = _text(answer.meta["error"])
            if question == "run" and not 0 <= meta["cond_id"] < self._manifest.members:
                raise RuntimeError(why)
            raise NotRunError(self._reason(why))
        return answer

    def _ask(
        self, question: str, arrays: Iterable[tuple[str, Array]], seconds: float, answer_bytes: int, **meta: int
    ) -> Frame:
        try:
            return self._process.ask({"question": question, **meta}, arrays, seconds, answer_bytes)
        except EndedError as error:
            raise NotRunError(self._reason(str(error))) from error

    def _seconds(self, samples: int) -> float:
        """Processor time for a question: each weight is used once for each pixel, and a pixel has three elements."""
        signature = self._signature
        elements = sum(self._elements(item, {}) for item in signature.inputs[1:])
        used = max(elements, *(self._elements(item, {}) for item in signature.outputs)) / 3
        seconds = (samples + 1) * self._weights * used / _PRODUCTS_A_SECOND
        return _QUESTION_SECONDS + min(seconds, _MOST_SECONDS)

    def _samples(self, inputs: Mapping[str, Array]) -> int:
        return batch_size(self._signature.network, inputs)

    def _bytes(self, outputs: Sequence[TensorSpec], inputs: Mapping[str, Array], samples: int, members: int = 1) -> int:
        """How large an answer may be: eight times its bytes in float64, and never more than the process may hold."""
        sizes = axis_sizes(self._signature.network, {name: array.shape for name, array in inputs.items()})
        sizes |= {BATCH: samples, MEMBER: members}
        elements = sum(self._elements(item, sizes) for item in outputs)
        return min(64 * elements + 4096, self._answer_bytes)

    def _elements(self, item: TensorSpec, sizes: Mapping[str, int]) -> int:
        known = {BATCH: 1, **self._signature.sizes, **sizes}
        return math.prod(size if isinstance(size, int) else known.get(size, _OPEN_SIZE) for size in item.shape)

    def _arrays(self, answer: Frame, names: Sequence[str]) -> dict[str, Array]:
        if [name for name, _ in answer.arrays] != list(names):
            self._process.close()
            found = len(answer.arrays)
            raise NotRunError(
                self._reason(f"its answer is malformed: {found} arrays, expected {', '.join(map(str, names))}")
            )
        return dict(answer.arrays)

    def _reason(self, why: str) -> str:
        return f"{self._name} is not trusted and was run in a confined process, without success: {why}; {_remedy()}"


def _unconfined(why: str) -> str:
    return f"not run: not trusted, and this system cannot confine it ({why}): {_remedy()}"


def _remedy() -> str:
    return f"give {spelled('trust=True', '--trust')} if you know who built it"


def _slot_bytes(slots: Sequence[Slot]) -> int:
    return sum(slot.size_bytes for slot in slots if slot.alias_of is None)


def _faults(words: Any) -> tuple[str, ...]:
    """A stranger's words about its own signature: whatever they are, they only say that it differs."""
    return tuple(_text(item) for item in words[:_MOST_FAULTS]) if isinstance(words, list) else ()


def _text(value: Any) -> str:
    """A stranger's words: one line, not too long; of a long one the end, which says what happened."""
    words = " ".join(str(value).split())
    return words if len(words) <= 300 else f"{words[:80]} … {words[-217:]}"
