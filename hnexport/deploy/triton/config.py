"""`config.pbtxt` of a model: what it takes and gives, how Triton batches, where it computes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.deploy.triton.options import Device, TritonOptions
from hnexport.deploy.triton.protobuf_text import Word, as_text
from hnexport.errors import DeployError
from hnexport.spec import TensorSpec

__all__ = ["LABELS_FILE", "WARMUP_FOLDER", "Backend", "Interface", "config_text", "is_batched", "warmup_files"]

LABELS_FILE = "labels.txt"
WARMUP_FOLDER = "warmup"
"""Where Triton looks for the data of warm-up requests."""

_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "bool": "BOOL",
        **{f"{kind}int{bits}": f"{kind.upper()}INT{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)},
        "float16": "FP16",
        "float32": "FP32",
        "float64": "FP64",
    }
)

Array = NDArray[np.generic]


class Backend:
    """Triton's names of what computes."""

    ONNXRUNTIME = "onnxruntime"
    PYTHON = "python"


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A model as Triton knows it.

    Attributes:
        backend: one of `Backend`.
        inputs: in order, the condition id among them.
        outputs: in order.
        batched: the first axis of every input and output is the batch, so that Triton may join requests.
        labelled: the outputs of which every sample has named classes.
        warmup: a value of every input, with its batch axis; it is sent to the model before it is ready.
        parameters: by name, for the backend.
    """

    name: str
    backend: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool
    labelled: tuple[str, ...]
    warmup: Mapping[str, Array]
    parameters: Mapping[str, str]


def is_batched(tensors: Sequence[TensorSpec]) -> bool:
    """Whether each of them has the batch as its first axis."""
    return all(tensor.has_batch for tensor in tensors)


def config_text(interface: Interface, options: TritonOptions) -> str:
    """The text of `config.pbtxt`.

    Raises:
        DeployError: Triton has no name for a dtype, or an axis is empty.
    """
    batching = {"max_queue_delay_microseconds": options.queue_delay_us or None}
    return as_text(
        {
            "name": interface.name,
            "backend": interface.backend,
            "max_batch_size": options.max_batch if interface.batched else 0,
            "version_policy": {"latest": {"num_versions": options.latest}},
            "input": [_tensor(item, interface) for item in interface.inputs],
            "output": [_tensor(item, interface) for item in interface.outputs],
            "dynamic_batching": batching if interface.batched else None,
            "instance_group": _instances(interface, options),
            "parameters": [
                {"key": name, "value": {"string_value": value}} for name, value in interface.parameters.items()
            ]
            or None,
            "model_warmup": _warmup(interface),
        }
    )


def warmup_files(interface: Interface) -> dict[str, bytes]:
    """The data of the warm-up request, by file name; each input has one, numbered in the order of the inputs."""
    return {_warmup_file(number): interface.warmup[item.name].tobytes() for number, item in _warmed(interface)}


def _tensor(item: TensorSpec, interface: Interface) -> dict[str, Any]:
    """An input or output. A tensor without axes is `[ 1 ]` to clients: Triton has no others."""
    if item.dtype not in _TYPES:
        raise DeployError(f"{interface.name}: {item.name} is {item.dtype}, which Triton does not pass on")
    if 0 in item.shape:
        raise DeployError(f"{interface.name}: {item.name} has an empty axis, {list(item.shape)}: Triton has none")
    sizes = item.row if interface.batched else item.shape
    return {
        "name": item.name,
        "data_type": Word(f"TYPE_{_TYPES[item.dtype]}"),
        "dims": [size if isinstance(size, int) else -1 for size in sizes] or [1],
        # A model without batches may not say so: its backend gives a tensor without axes by itself.
        "reshape": {"shape": []} if interface.batched and not sizes else None,
        "label_filename": LABELS_FILE if item.name in interface.labelled else None,
    }


def _instances(interface: Interface, options: TritonOptions) -> dict[str, Any]:
    device = options.device
    if device is Device.AUTO and interface.backend == Backend.PYTHON:
        device = Device.CPU  # its environment need not have onnxruntime for a GPU
    return {"count": options.instances, "kind": Word(f"KIND_{device.upper()}")}


def _warmed(interface: Interface) -> list[tuple[int, TensorSpec]]:
    """The inputs that a warm-up request has: none where one would have to be reshaped, which it is not."""
    reshaped = interface.batched and interface.backend != Backend.PYTHON
    if not interface.warmup or (reshaped and any(not item.row for item in interface.inputs)):
        return []
    return list(enumerate(interface.inputs))


def _warmup(interface: Interface) -> dict[str, Any] | None:
    inputs = []
    for number, item in _warmed(interface):
        value = interface.warmup[item.name]
        sizes = value.shape[1:] if interface.batched else value.shape
        told = {"data_type": Word(f"TYPE_{_TYPES[item.dtype]}"), "dims": list(sizes) or [1]}
        empty = math.prod(sizes) == 0
        inputs.append({"key": item.name, "value": {**told, "zero_data": True} if empty else {**told, **_data(number)}})
    return {"name": "one golden sample", "batch_size": 1, "inputs": inputs} if inputs else None


def _data(number: int) -> dict[str, str]:
    return {"input_data_file": _warmup_file(number)}


def _warmup_file(number: int) -> str:
    return f"input-{number}"
