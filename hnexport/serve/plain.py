"""`POST /predict`: nested lists in, nested lists out, for whoever has no client of the protocol."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.reading import ReadError, parse_json, shown
from hnexport.serve.asked import Asked
from hnexport.serve.refusal import RefusedError
from hnexport.serve.served import Served
from hnexport.serve.tensors import as_array, as_json_numbers
from hnexport.serve.work import Ran
from hnexport.spec import Signature

__all__ = ["read_plain", "write_plain"]


def read_plain(body: bytes, signature: Signature) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The inputs by name, in the signature's dtypes, and the parameters beside them.

    Raises:
        RefusedError: it is no such request.
    """
    try:
        value = parse_json(body, "the request")
    except ReadError as error:
        raise RefusedError(400, str(error)) from error
    if not isinstance(value, dict) or not isinstance(value.get("inputs"), dict):
        raise RefusedError(400, 'expected a JSON object such as {"inputs": {"image": […]}, "member": 3}')
    given = value.pop("inputs")
    dtypes = {item.name: item.dtype for item in signature.inputs}
    inputs = {}
    for name, data in given.items():
        if name not in dtypes:
            raise RefusedError(400, f"there is no input {shown(name)}: this network takes {', '.join(dtypes)}")
        inputs[name] = as_array(data, np.dtype(dtypes[name]), name)
    return inputs, value


def write_plain(served: Served, wish: Asked, ran: Ran, details: Mapping[str, Any]) -> bytes:
    """The answer: outputs as nested lists, with null for what is not a finite number."""
    value: dict[str, Any] = {"bundle": served.digest, "precision": wish.precision}
    value |= {"member": wish.member} if wish.member is not None else {"members": list(wish.members)}
    value["outputs"] = {name: as_json_numbers(array) for name, array in ran.outputs.items()}
    labels = served.manifest.usage.class_names
    if labels:
        value["classes"] = {name: list(names) for name, names in labels.items()}
    if details:
        value |= details
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
