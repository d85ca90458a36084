"""`model.py` of Triton's Python backend: every member as a plain network, one condition id a sample.

Requests that Triton joined are sorted by condition id: each member is called once for all of its samples. The server's
Python needs `hnexport-runtime` and onnxruntime. In `config.pbtxt` the parameters `strategy`, `precision`, `threads` and
`resident_members` are those of `hnexport.runtime.load`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import HnexportError
from hnexport.names import COND_ID
from hnexport.runtime import CudaOptions, LoadedEnsemble, load

Array = NDArray[Any]
Outputs = dict[str, Array]


class TritonPythonModel:
    """What the backend makes of each instance of the model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the bundle that lies beside this file, and make every member's weights."""
        config = json.loads(args["model_config"])
        said = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        counts: dict[str, Any] = {name: int(said[name]) for name in ("threads", "resident_members") if name in said}
        on_gpu = args["model_instance_kind"] == "GPU"
        ensemble = load(
            Path(args["model_repository"]) / args["model_version"] / "bundle",
            provider="cuda" if on_gpu else "cpu",
            cuda=CudaOptions(device=int(args["model_instance_device_id"])) if on_gpu else None,
            strategy=said.get("strategy", "materialised"),
            precision=said.get("precision", "float32"),
            **counts,
        )
        if not ensemble.signature.conditions and ensemble.resident_limit >= ensemble.members:
            ensemble.warm()
        self._answers = Answers(ensemble, batched=config["max_batch_size"] > 0)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer every request; one that cannot be answered gets the reason, and the others their outputs."""
        import triton_python_backend_utils as triton  # only the server has it

        given = []
        for request in requests:
            tensors = {name: triton.get_input_tensor_by_name(request, name) for name in self._answers.names}
            given.append({name: tensor.as_numpy() for name, tensor in tensors.items()})
        return [
            triton.InferenceResponse(error=triton.TritonError(answer, triton.TritonError.INVALID_ARG))
            if isinstance(answer, str)
            else triton.InferenceResponse([triton.Tensor(name, array) for name, array in answer.items()])
            for answer in self._answers.of(given)
        ]


@dataclass(frozen=True)
class _Part:
    """Samples of one request that are one member's."""

    request: int
    rows: NDArray[np.intp]


class Answers:
    """What an ensemble says to several requests, each a mapping from the names of the inputs to arrays.

    Attributes:
        names: of the inputs, the condition id first.
    """

    def __init__(self, ensemble: LoadedEnsemble, *, batched: bool) -> None:
        """Answers of an ensemble.

        Args:
            batched: the condition id is `[batch]`, one a sample; otherwise there is one for the whole request.
        """
        self._ensemble, self._batched = ensemble, batched
        self._tensors = ensemble.signature.inputs
        self.names = (COND_ID, *(tensor.name for tensor in self._tensors))

    def of(self, requests: Sequence[Mapping[str, Array]]) -> list[Outputs | str]:
        """The outputs of each request, or why there are none."""
        if not self._batched:
            return [self._alone(request) for request in requests]
        answers: list[Outputs | str] = [{} for _ in requests]
        for (member, _), parts in self._sorted(requests).items():
            asked = [part for part in parts if isinstance(answers[part.request], dict)]
            if not asked:
                continue
            joined = {
                tensor.name: np.concatenate([requests[part.request][tensor.name][part.rows] for part in asked])
                for tensor in self._tensors
            }
            self._put(self._outputs(member, joined), asked, requests, answers)
        return answers

    def _sorted(self, requests: Sequence[Mapping[str, Array]]) -> dict[tuple[int, Any], list[_Part]]:
        """Every sample by its member, and by the shape of what it takes: only equal ones can be joined."""
        found: dict[tuple[int, Any], list[_Part]] = {}
        for number, request in enumerate(requests):
            ids = request[COND_ID].reshape(-1)
            shapes = tuple(request[tensor.name].shape[1:] for tensor in self._tensors)
            for member in np.unique(ids):
                part = _Part(number, np.flatnonzero(ids == member))
                found.setdefault((int(member), shapes), []).append(part)
        return found

    def _put(
        self,
        outputs: Outputs | str,
        parts: Sequence[_Part],
        requests: Sequence[Mapping[str, Array]],
        answers: list[Outputs | str],
    ) -> None:
        start = 0
        for part in parts:
            answer = answers[part.request]
            if isinstance(outputs, str) or isinstance(answer, str):
                answers[part.request] = outputs if isinstance(outputs, str) else answer
                continue
            size, end = len(requests[part.request][COND_ID]), start + len(part.rows)
            for name, array in outputs.items():
                if name not in answer:
                    answer[name] = np.empty((size, *array.shape[1:]), dtype=array.dtype)
                answer[name][part.rows] = array[start:end]
            start = end

    def _alone(self, request: Mapping[str, Array]) -> Outputs | str:
        """One member's outputs; what has no axes is `[1]` to Triton."""
        inputs = {tensor.name: request[tensor.name].reshape(()) for tensor in self._tensors if not tensor.shape}
        given = {tensor.name: inputs.get(tensor.name, request[tensor.name]) for tensor in self._tensors}
        outputs = self._outputs(int(request[COND_ID].item()), given)
        return outputs if isinstance(outputs, str) else {name: np.atleast_1d(array) for name, array in outputs.items()}

    def _outputs(self, member: int, inputs: Mapping[str, Array]) -> Outputs | str:
        try:
            return {name: np.asarray(array) for name, array in self._ensemble.outputs(member, dict(inputs)).items()}
        except HnexportError as error:
            return str(error)
