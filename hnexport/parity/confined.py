"""Run a stranger's program in a confined process: the parent's side, with the contract of `TorchRunner`."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from hnexport.confine.frames import Frame
from hnexport.confine.limits import Budget
from hnexport.confine.process import ConfinedProcess, EndedError
from hnexport.errors import NotRunError
from hnexport.export.ensemble import ENSEMBLE_OUTPUTS
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.limits import Limits
from hnexport.parity.program_limits import ProgramLimits
from hnexport.parity.signature import GraphSignature
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.frames import unpack_given, unpack_trace
from hnexport.records import RecordError, from_json, to_json

__all__ = ["ConfinedRunner", "budget_of"]

Array = NDArray[np.generic]
T = TypeVar("T")

REMEDY = "give --trust if you know who built it"
_MIB = 2**20
# Processor time: what every program may cost, and by how much. A network of n weights multiplies at most n times for
# each pixel; a slow processor does 10^10 of them in a second, ours thirty times as many.
_BASE_SECONDS, _QUESTION_SECONDS, _IDLE_SECONDS = 4.0, 0.1, 4.0
_BYTES_A_SECOND, _PRODUCTS_A_SECOND = 10 * _MIB, 1e10
_MEMORY_BYTES = 512 * _MIB
_IMAGES_TRIED = 32  # when a program is loaded, to find out which batches it runs
_LIMITS_BYTES = 2**16


def budget_of(file_bytes: int, spec: PipelineSpec) -> Budget:
    """What a program may take in all, beside each question's own time; see docs/trust.md."""
    weights = 4 * int(weight_summary(spec)["main network: weights"])
    return Budget(
        memory_bytes=_MEMORY_BYTES + 8 * file_bytes + 12 * weights,
        cpu_seconds=_BASE_SECONDS + file_bytes / _BYTES_A_SECOND,
        idle_seconds=_IDLE_SECONDS + file_bytes / _BYTES_A_SECOND,
    )


class ConfinedRunner:
    """A TorchScript or `.pt2` file `(cond_id, image) -> logits` under PyTorch, in a process that can only compute."""

    def __init__(self, content: bytes, name: str, spec: PipelineSpec, signature: GraphSignature) -> None:
        """Start the process and load the program there; it uses the CPU, whatever else there is.

        Raises:
            NotRunError: the system confines no process, or the program could not be loaded.
        """
        self._name, self._spec, self._signature, self._file_bytes = name, spec, signature, len(content)
        self._weights = int(weight_summary(spec)["main network: weights"])
        budget = budget_of(len(content), spec)
        self._answer_bytes = budget.memory_bytes
        self._process = ConfinedProcess("hnexport.parity.confined_child", budget)
        self._confine(budget)
        seconds = self._seconds(_IMAGES_TRIED)
        loaded = self._ask("load", [("program", np.frombuffer(content, np.uint8))], seconds, _LIMITS_BYTES)
        self.runtime = f"torch {torch.__version__} cpu, confined"
        if "error" in loaded.meta:
            self._process.close()
            raise NotRunError(self._reason(_text(loaded.meta["error"])))
        self.limits = self._limits(loaded.meta.get("limits"))

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        images = inputs["image"]
        limit = 64 * len(images) * self._spec.network.classes + 4096
        answer = self._question("run", [("images", images)], len(images), limit, cond_id=cond_id)
        return {"logits": self._arrays(answer, 1)[0]}

    def ensemble(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The program's method `ensemble`: several members in one call."""
        return self._several("ensemble", cond_ids, inputs["image"])

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a program with the signature of `ensemble.onnx` returns."""
        return self._several("together", cond_ids, inputs["image"])

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        yield from self._question("stored", [], 0, 2 * self._file_bytes + _MIB).arrays

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the program gives its operators."""
        answer = self._question("weights", inputs.items(), 1, 16 * self._weights + _MIB, cond_id=cond_id)
        return self._unpacked(unpack_given, answer)

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every floating-point value of one call, and the tensors that the program gives its operators."""
        samples = max((len(array) for array in inputs.values() if array.ndim), default=1)
        answer = self._question("trace", inputs.items(), samples, self._answer_bytes, cond_id=cond_id)
        return self._unpacked(unpack_trace, answer)

    def _unpacked(self, unpack: Callable[[Mapping[str, Any], Iterable[tuple[str, Array]]], T], answer: Frame) -> T:
        try:
            return unpack(answer.meta, answer.arrays)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            self._process.close()
            raise NotRunError(self._reason("its answer is malformed: it is no trace")) from error

    def _several(self, question: str, cond_ids: NDArray[np.int64], images: Array) -> Mapping[str, Array]:
        runs = len(cond_ids) * len(images)
        limit = 64 * (runs + len(images)) * (self._spec.network.classes + 2) + 4096
        answer = self._question(question, [("cond_ids", cond_ids), ("images", images)], runs, limit)
        return dict(zip(ENSEMBLE_OUTPUTS, self._arrays(answer, 4), strict=True))

    def _limits(self, words: Any) -> Limits:
        """What the program was found to be limited to; it cannot say more than `Limits` holds."""
        try:
            return from_json(ProgramLimits, words).limits()
        except (RecordError, ValueError) as error:
            self._process.close()
            raise NotRunError(self._reason(f"its answer is malformed: {error}")) from error

    def _confine(self, budget: Budget) -> None:
        meta = {
            "memory_bytes": budget.memory_bytes,
            "threads": torch.get_num_threads(),
            "spec": to_json(self._spec),
            "signature": to_json(self._signature),
            "name": self._name,
        }
        try:
            confined = self._process.start(meta)
        except EndedError as error:
            raise NotRunError(f"not run: not trusted, and no confined process could be started: {error}") from error
        if confined.meta != {"confined": True}:
            self._process.close()
            why = _text(confined.meta.get("reason", "no reason was given"))
            raise NotRunError(f"not run: not trusted, and this system cannot confine it ({why}): {REMEDY}")

    def _question(
        self, question: str, arrays: Iterable[tuple[str, Array]], images: int, answer_bytes: int, **meta: int
    ) -> Frame:
        """Ask; what the program raises for a member that does not exist is raised here, as its runtime would."""
        answer = self._ask(question, arrays, self._seconds(images), answer_bytes, **meta)
        if "error" in answer.meta:
            why = _text(answer.meta["error"])
            if question == "run" and not 0 <= meta["cond_id"] < self._spec.members:
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

    def _seconds(self, images: int) -> float:
        _, shape = self._spec.image_input
        return _QUESTION_SECONDS + (images + 1) * self._weights * math.prod(shape) / 3 / _PRODUCTS_A_SECOND

    def _arrays(self, answer: Frame, count: int) -> list[Array]:
        found = [array for _, array in answer.arrays]
        if len(found) != count:
            self._process.close()
            raise NotRunError(self._reason(f"its answer is malformed: {len(found)} arrays, expected {count}"))
        return found

    def _reason(self, why: str) -> str:
        return f"{self._name} is not trusted and was run in a confined process, without success: {why}; {REMEDY}"


def _text(value: Any) -> str:
    """A stranger's words: one line, not too long; of a long one the end, which says what happened."""
    words = " ".join(str(value).split())
    return words if len(words) <= 300 else f"{words[:80]} … {words[-217:]}"
