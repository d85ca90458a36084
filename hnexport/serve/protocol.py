"""The Open Inference Protocol (v2) over HTTP: requests read into arrays, answers written, and metadata.

The protocol: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, and its extension for
tensors as bytes behind the JSON.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hnexport import __version__
from hnexport.names import COND_ID
from hnexport.reading import ReadError, parse_json, shown
from hnexport.serve.outputs import summary_specs
from hnexport.serve.refusal import RefusedError
from hnexport.serve.served import Served
from hnexport.serve.tensors import NAMES, as_json_numbers, from_bytes, from_json, shape_of, to_bytes
from hnexport.serve.work import Ran
from hnexport.spec import TensorSpec

__all__ = [
    "HEADER_LENGTH",
    "InferRequest",
    "Wanted",
    "model_metadata",
    "read_request",
    "server_metadata",
    "write_answer",
]

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says where in the body the JSON ends and the tensors' bytes begin."""
_EXTENSIONS = ("binary_tensor_data", "schedule_policy")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An output that was asked for by name."""

    name: str
    binary: bool


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """A request as the protocol has it.

    Attributes:
        id: the client's own, which the answer repeats; None where there is none.
        inputs: by name, in the dtypes that the request says.
        outputs: those that were named; empty for all.
        parameters: of the request, but those that the protocol's extension has.
        binary: whether outputs that do not say so themselves are bytes.
    """

    id: str | None
    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[Wanted, ...]
    parameters: Mapping[str, Any]
    binary: bool


def read_request(body: bytes, header_length: str | None) -> InferRequest:
    """Read a request.

    Args:
        header_length: what the header of that name says; None where all of the body is JSON.

    Raises:
        RefusedError: it is none.
    """
    end = _header_end(body, header_length)
    try:
        value = parse_json(bytes(memoryview(body)[:end]), "the request")
    except ReadError as error:
        raise RefusedError(400, str(error)) from error
    if not isinstance(value, dict):
        raise RefusedError(400, f"the request must be a JSON object, found {shown(value)}")
    name = value.get("id")
    if name is not None and not isinstance(name, str):
        raise RefusedError(400, f"id must be text, found {shown(name)}")
    parameters, outputs = dict(_object(value.get("parameters"), "parameters")), value.get("outputs")
    binary = _flag(parameters.pop("binary_data_output", False), "binary_data_output")
    return InferRequest(
        id=name,
        inputs=_inputs(value.get("inputs"), memoryview(body)[end:]),
        outputs=tuple(_wanted(item, binary) for item in _list([] if outputs is None else outputs, "outputs")),
        parameters=parameters,
        binary=binary,
    )


def _header_end(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) <= len(str(len(body)))):
        raise RefusedError(
            400, f"{HEADER_LENGTH} must be the number of bytes of the JSON, found {shown(header_length)}"
        )
    if int(header_length) > len(body):
        raise RefusedError(400, f"{HEADER_LENGTH} is {header_length}, the body has {len(body)} bytes")
    return int(header_length)


def _inputs(value: Any, data: memoryview) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for item in _list(value, "inputs"):
        entry = _object(item, "an input")
        name = entry.get("name")
        if not isinstance(name, str) or name in found:
            raise RefusedError(400, f"an input needs a name of its own, found {shown(name)}")
        shape, datatype = shape_of(entry.get("shape"), name), entry.get("datatype")
        size = _object(entry.get("parameters"), f"the parameters of {name}").get("binary_data_size")
        if size is None:
            found[name] = from_json(entry.get("data"), datatype, shape, name)  # type: ignore[arg-type]  # it is checked
            continue
        if "data" in entry:
            raise RefusedError(400, f"{name}: give either data or binary_data_size")
        if type(size) is not int or not 0 <= size <= len(data):
            raise RefusedError(
                400, f"{name}: binary_data_size is {shown(size)}, {len(data)} bytes are left of the body"
            )
        found[name] = from_bytes(data[:size], datatype, shape, name)  # type: ignore[arg-type]
        data = data[size:]
    if len(data):
        raise RefusedError(400, f"{len(data)} bytes of the body belong to no input")
    return found


def _wanted(item: Any, binary: bool) -> Wanted:
    entry = _object(item, "an output")
    name = entry.get("name")
    if not isinstance(name, str):
        raise RefusedError(400, f"an output needs a name, found {shown(name)}")
    parameters = _object(entry.get("parameters"), f"the parameters of {name}")
    unknown = next((key for key in parameters if key != "binary_data"), None)
    if unknown is not None and parameters[unknown] != 0:  # some clients say "classification": 0
        raise RefusedError(400, f"{name}: there is no parameter {shown(unknown)} of an output")
    return Wanted(name=name, binary=_flag(parameters.get("binary_data", binary), "binary_data"))


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise RefusedError(400, f"{name} must be a list, found {shown(value)}")
    return value


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RefusedError(400, f"{name} must be a JSON object, found {shown(value)}")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise RefusedError(400, f"{name} is true or false, found {shown(value)}")
    return value


def write_answer(
    name: str, version: str, request: InferRequest, ran: Ran, details: Mapping[str, Any]
) -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and its headers.

    Raises:
        RefusedError: an output was asked for that this request does not give.
    """
    missing = next((wanted.name for wanted in request.outputs if wanted.name not in ran.outputs), None)
    if missing is not None:
        raise RefusedError(
            400, f"there is no output {shown(missing)} of this request: there are {', '.join(ran.outputs)}"
        )
    wanted = request.outputs or tuple(Wanted(name=name, binary=request.binary) for name in ran.outputs)
    outputs, tail = [], []
    for one in wanted:
        array = ran.outputs[one.name]
        entry: dict[str, Any] = {
            "name": one.name,
            "datatype": NAMES[str(array.dtype)],
            "shape": list(array.shape),
        }
        if one.binary:
            tail.append(to_bytes(array))
            entry["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            entry["data"] = as_json_numbers(array.reshape(-1))
        outputs.append(entry)
    value: dict[str, Any] = {"model_name": name, "model_version": version}
    if request.id is not None:
        value["id"] = request.id
    if details:
        value["parameters"] = dict(details)
    value["outputs"] = outputs
    head = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    if not tail:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join([head, *tail]), headers


def server_metadata() -> dict[str, Any]:
    """What `GET /v2` says."""
    return {"name": "hnexport", "version": __version__, "extensions": list(_EXTENSIONS)}


def model_metadata(name: str, served: Served) -> dict[str, Any]:
    """What `GET /v2/models/NAME` says; -1 is a size that may be any."""
    signature = served.manifest.signature
    cond_id = TensorSpec(name=COND_ID, dtype="int64", shape=("members",))
    return {
        "name": name,
        "versions": [served.version],
        "platform": f"hnexport_{served.first.engine}",
        "inputs": _described((cond_id, *signature.inputs)),
        "outputs": _described((*signature.outputs, *summary_specs(signature))),
    }


def _described(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "datatype": NAMES.get(spec.dtype, spec.dtype),
            "shape": [size if isinstance(size, int) else -1 for size in spec.shape],
        }
        for spec in specs
    ]
