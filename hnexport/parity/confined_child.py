"""What a confined process does for parity: it answers with the same `TorchRunner` that runs trusted programs."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hnexport.confine.child import Answer
from hnexport.confine.frames import Frame
from hnexport.names import COND_IDS
from hnexport.parity.program_limits import ProgramLimits
from hnexport.parity.signature import GraphSignature
from hnexport.parity.torch_runners import TorchRunner
from hnexport.parity.trace.frames import pack_given, pack_trace
from hnexport.records import from_json, to_json

__all__ = ["Service"]


class Service:
    """One program: the first question brings it, the others ask for what a `TorchRunner` gives."""

    def __init__(self, words: Mapping[str, Any]) -> None:
        torch.set_num_threads(words["threads"])
        self._name, self._own = words["name"], words["own"]
        self._signature = from_json(GraphSignature, words["signature"])
        self._runner: TorchRunner | None = None
        if self._name.endswith(".pt2"):  # what `torch.export.load` would import: it costs as much as torch itself
            importlib.import_module("torch._export.serde.serialize")

    def answer(self, question: Frame) -> Answer:
        """Answer one question."""
        meta, arrays = question.meta, dict(question.arrays)
        if self._runner is None:
            self._runner = TorchRunner(arrays["program"].tobytes(), self._name, self._signature, own=self._own)
            faults = [fault[:500] for fault in self._runner.signature_faults[:32]]
            return {"limits": to_json(ProgramLimits.of(self._runner.limits)), "faults": faults}, ()
        match meta["question"]:
            case "run":
                return {}, list(self._runner.run(meta["cond_id"], arrays).items())
            case "ensemble" | "together" as how:
                several = self._runner.ensemble if how == "ensemble" else self._runner.run_together
                cond_ids = arrays.pop(COND_IDS).astype(np.int64)
                return {}, list(several(cond_ids, arrays).items())
            case "stored":
                return {}, list(self._runner.stored())
            case "weights":
                return pack_given(self._runner.weights(meta["cond_id"], arrays))
            case "trace":
                return pack_trace(self._runner.trace(meta["cond_id"], arrays))
            case other:
                raise ValueError(f"there is no question {other!r}")
