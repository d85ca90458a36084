"""The outputs of a network as the captured graph has them, named and with the kinds that a user gave."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, TensorArgument
from torch.utils import _pytree as pytree

from hnexport.errors import SpecError
from hnexport.networks.modules.inputs import Inputs
from hnexport.networks.modules.tensors import dtype_name
from hnexport.reading import shown
from hnexport.spec import BATCH, OutputKind, OutputSpec
from hnexport.spec.kinds import Kind, Logits

__all__ = ["Outputs", "read_outputs"]

Outputs = Sequence[str] | Mapping[str, Kind] | None
"""Names in order, or kinds by name."""

_VALUE: Kind = OutputKind.VALUE


def read_outputs(program: ExportedProgram, inputs: Inputs, outputs: Outputs) -> tuple[OutputSpec, ...]:
    """Each tensor that the network returns, in the exporters' order.

    Raises:
        SpecError: one is no tensor or has an axis that cannot be named; names or kinds do not fit.
    """
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    symbols = {
        str(values[spec.arg.name].shape[axis]): of
        for spec in program.graph_signature.input_specs
        if spec.arg.name in inputs.dynamic
        for axis, of in inputs.dynamic[spec.arg.name].items()
    }
    found = {name: values[arg.name] for name, arg in _tensors(program).items()}
    kinds = _kinds(list(found), outputs)
    clash = next((name for name in kinds if name in inputs.examples), None)
    if clash is not None:
        raise SpecError(f"{clash!r} is an input and an output: name the outputs with outputs=(…), in their order")
    return tuple(
        _spec(name, value, symbols, kind) for (name, kind), value in zip(kinds.items(), found.values(), strict=True)
    )


def _tensors(program: ExportedProgram) -> dict[str, TensorArgument]:
    """By the network's own name for it: keys of a dict, fields of a named tuple, else `output` and the position."""
    arguments = [spec.arg for spec in program.graph_signature.output_specs]
    tree = pytree.tree_unflatten(range(len(arguments)), program.call_spec.out_spec)
    found: dict[str, TensorArgument] = {}
    for path, number in pytree.tree_flatten_with_path(tree)[0]:
        keys = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
        name = ".".join(keys)
        name = name if name and not name[0].isdigit() else f"output{name}"
        argument = arguments[number]
        if isinstance(argument, ConstantArgument) and argument.value is None:
            continue
        if not isinstance(argument, TensorArgument):
            value = shown(argument.value) if isinstance(argument, ConstantArgument) else "a number that is no constant"
            raise SpecError(f"forward returns {value} as {name}, which is no tensor: return tensors only")
        if name in found:
            raise SpecError(f"two outputs are called {name}: return a dict with a key for each")
        found[name] = argument
    if not found:
        raise SpecError("forward returns no tensor: a network needs an output")
    return found


def _kinds(own: list[str], outputs: Outputs) -> dict[str, Kind]:
    if outputs is None:
        return dict.fromkeys(own, _VALUE)
    if isinstance(outputs, str):
        raise SpecError(
            f"outputs: expected names or {{name: kind}}, found {outputs!r}: a tuple of one is written ({outputs!r},)"
        )
    if not isinstance(outputs, Iterable):
        raise SpecError(f"outputs: expected {{name: kind}}, found {outputs!r}: write {{{own[0]!r}: {outputs!r}}}")
    given: dict[str, Kind] = dict.fromkeys(outputs, _VALUE)
    if isinstance(outputs, Mapping):
        given.update(outputs)
    if len(given) != len(outputs):
        raise SpecError(f"outputs: a name stands twice in {list(outputs)}")
    unknown = [name for name in given if name not in own]
    if len(unknown) < len(given):  # its own names
        if unknown:
            raise SpecError(f"outputs: the network returns no {unknown[0]!r}, only {', '.join(own)}")
        return {name: given.get(name, OutputKind.VALUE) for name in own}
    if len(given) != len(own):
        named = (
            f"{len(given)} {'is' if len(given) == 1 else 'are'} named: name them all, in order, or some by their names"
        )
        raise SpecError(f"outputs: the network returns {len(own)} ({', '.join(own)}), {named}")
    return given


def _spec(name: str, value: Any, symbols: Mapping[str, str], kind: Kind) -> OutputSpec:
    if not isinstance(name, str):
        raise SpecError(f"outputs: a name is text, found {shown(name)}")
    shape = tuple(_size(name, size, symbols) for size in value.shape)
    for axis, size in enumerate(shape):
        if isinstance(size, str) and (BATCH in re.findall(r"\w+", size)) and (size != BATCH or axis != 0):
            raise SpecError(
                f"the output {name} has the shape {list(shape)}: the batch must be the first axis, and alone there; "
                "let forward return it so (transpose, or reshape to [batch, …])"
            )
    dtype = dtype_name(f"the output {name}", value)
    if dtype == "float16":
        raise SpecError(
            f"the output {name} is float16, in which nothing can be compared with float32's precision: "
            "give the modules in float32 (`net.float()`), or let forward return it in float32"
        )
    classes = _axis_of_logits(name, kind)
    if classes is None:
        return OutputSpec(name=name, dtype=dtype, shape=shape)
    axis = classes + len(shape) if classes < 0 else classes
    return OutputSpec(name=name, dtype=dtype, shape=shape, kind=OutputKind.LOGITS, axis=axis)


def _axis_of_logits(name: str, kind: Kind) -> int | None:
    """The axis of the classes, None for a value."""
    if isinstance(kind, Logits):
        if type(kind.axis) is not int:
            raise SpecError(f"outputs[{name!r}]: the axis of logits is a number, found {shown(kind.axis)}")
        return kind.axis
    if kind == OutputKind.LOGITS:
        return Logits().axis
    if kind == OutputKind.VALUE:
        return None
    raise SpecError(f"outputs[{name!r}]: expected 'value', 'logits' or Logits(axis=…), found {shown(kind)}")


def _size(name: str, size: Any, symbols: Mapping[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    text = str(size)
    unknown = next((word for word in re.findall(r"[A-Za-z_]\w*", text) if re.fullmatch(r"u\d+", word)), None)
    if unknown is not None:
        raise SpecError(f"the output {name} has a size that depends on the inputs' values: return one of known shape")
    return re.sub(r"[A-Za-z_]\w*", lambda word: symbols.get(word[0], word[0]), text)
