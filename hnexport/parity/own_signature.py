"""Whether a bundle's own files have exactly the signature of its manifest: names, dtypes and axes, in its order.

Somebody's converted file may name its inputs and outputs as it likes; the files of a bundle are called by what the
manifest says.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import onnx

from hnexport.bundle.onnx_data import read_model
from hnexport.parity.signature import Declared, GraphSignature, axes
from hnexport.spec import Slot, TensorSpec

__all__ = [
    "declared_of",
    "faults_of_graph",
    "faults_of_hypernet",
    "faults_of_network",
    "signature_faults",
]


def faults_of_graph(path: Path, signature: GraphSignature, *, together: bool = False) -> tuple[str, ...]:
    """How `model.onnx` departs from a bundle's signature, or `ensemble.onnx` with `together`."""
    first = signature.cond_ids if together else signature.inputs[0]
    outputs = signature.summaries if together else signature.outputs
    inputs, found = declared_of(path)
    return (
        *signature_faults("input", inputs, (first, *signature.inputs[1:])),
        *signature_faults("output", found, outputs),
    )


def faults_of_hypernet(path: Path, signature: GraphSignature, slots: Sequence[Slot]) -> tuple[str, ...]:
    """How `hypernet.onnx` departs from a bundle's condition id and slots; it may leave slots out."""
    takes, gives = declared_of(path)
    expected = {slot.name: TensorSpec(name=slot.name, dtype=slot.dtype, shape=slot.shape) for slot in slots}
    return (
        *signature_faults("input", takes, (signature.inputs[0], *signature.network.of_generator)),
        *(f"{path.name} gives {item}, which is no slot" for item in gives if item.name not in expected),
        *signature_faults(
            "slot",
            [item for item in gives if item.name in expected],
            [expected[item.name] for item in gives if item.name in expected],
        ),
    )


def faults_of_network(path: Path, signature: GraphSignature) -> tuple[str, ...]:
    """How `network.onnx` departs from a bundle's inputs and outputs."""
    inputs, outputs = declared_of(path)
    return (
        *signature_faults("input", inputs, signature.network.of_network),
        *signature_faults("output", outputs, signature.outputs),
    )


def signature_faults(what: str, found: Iterable[Declared], expected: Iterable[TensorSpec]) -> tuple[str, ...]:
    """One line for each input or output that is not as it must be; what a file does not say is no fault.

    Args:
        what: `input`, `output` or `slot`, for the message.
    """
    faults = []
    for number, (have, wanted) in enumerate(zip_longest(found, expected)):
        if wanted is None:
            faults.append(f"there is a further {what}, {have}")
        elif have is None:
            faults.append(f"the {what} {_told(wanted)} is missing")
        elif not _is(have, wanted):
            faults.append(f"{what} {number} is {have}, expected {_told(wanted)}")
    return tuple(faults)


def declared_of(path: Path) -> tuple[list[Declared], list[Declared]]:
    """The inputs and outputs of an ONNX file; an input that has a value in the file is one too.

    Raises:
        BundleError: it is no ONNX file.
    """
    graph = read_model(path).graph
    return [_declared(item) for item in graph.input], [_declared(item) for item in graph.output]


def _declared(item: onnx.ValueInfoProto) -> Declared:
    tensor = item.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in tensor.shape.dim
        )
    return Declared(name=item.name, dtype={"float": "float32", "double": "float64"}.get(dtype, dtype), shape=shape)


def _is(found: Declared, expected: TensorSpec) -> bool:
    return (
        found.name in (expected.name, "")
        and found.dtype in (expected.dtype, None)
        and found.shape in (expected.shape, None)
    )


def _told(spec: TensorSpec) -> str:
    return f"{spec.name} ({spec.dtype} [{axes(spec.shape)}])"
