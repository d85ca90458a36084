"""A captured forward of one member: what it computes, in words that do not depend on the member, over which tensors."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from hnexport.dotted import named_tensors
from hnexport.errors import CaptureError
from hnexport.networks.modules.traced import nodes, where_in
from hnexport.networks.steps.generated import is_allowed
from hnexport.networks.steps.written import DTYPE, NUMBER, STEP, TENSOR
from hnexport.programs.tracing import exporters_warnings

__all__ = ["Read", "Recipe", "difference", "functional", "read", "recipe_of"]

_TENSORS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
_IDENTITIES = frozenset(("alias", "clone", "contiguous", "detach", "dropout", "lift_fresh", "lift_fresh_copy"))
"""Operators that give their first argument, where nothing is written and no dropout is in training mode."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """What a member computes.

    Attributes:
        lines: every node as text, in which tensors have numbers; with the module that it belongs to.
        tensors: name and tensor of each number.
    """

    lines: tuple[tuple[str, str], ...]
    tensors: tuple[tuple[str, Tensor], ...]


@dataclass(kw_only=True, eq=False)
class Recipe:
    """The steps of a program without inputs, over its tensors by number.

    Attributes:
        outputs: the values that it returns.
    """

    steps: list[list[Any]] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)


def read(module: nn.Module, program: ExportedProgram) -> Read:
    """The lines and tensors of a program of `module`."""
    tensors = dict(_placed(module, program))
    texts: dict[Node, str] = {}
    used: list[tuple[str, Tensor]] = []
    lines = []

    def text(node: Node) -> str:
        if node in tensors and node not in texts:  # numbered where it is first used
            texts[node] = f"tensor {len(used)}"
            used.append(tensors[node])
        return texts[node]

    for number, node in enumerate(nodes(program.graph_module)):
        if node in tensors:
            continue
        what = node.target if node.op == "call_function" else node.op
        args, named = torch.fx.node.map_arg((node.args, node.kwargs), text)
        lines.append((f"{what}({', '.join(map(str, args))}, {named})", where_in(node)))
        texts[node] = f"value {number - len(tensors)}"
    return Read(lines=tuple(lines), tensors=tuple(used))


def difference(first: Read, other: Read) -> str | None:
    """What a member computes otherwise than the first, and where; None where it does the same."""
    for one, two in zip_longest(first.lines, other.lines, fillvalue=("nothing", "its forward")):
        if one[0] != two[0]:
            return f"in {two[1]}: `{two[0][:160]}`, there `{one[0][:160]}`"
    for (name, tensor), (_, theirs) in zip(first.tensors, other.tensors, strict=True):
        if (tensor.shape, tensor.dtype) != (theirs.shape, theirs.dtype):
            return f"{name} has the shape {list(tensor.shape)} there, here {list(theirs.shape)}"
    return None


def functional(program: ExportedProgram) -> ExportedProgram:
    """The same program without writes into its own values (`w[0] = 1`, `w[:4].mul_(2)`), which no step says."""
    if not any(
        isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
        for node in nodes(program.graph_module)
    ):
        return program
    with exporters_warnings():
        found: ExportedProgram = program.run_decompositions({})
    return found


def recipe_of(
    module: nn.Module, program: ExportedProgram, known: Read, kept: Sequence[int], inputs: Sequence[str] = ()
) -> Recipe:
    """The steps of a program whose inputs, if it has any, are the condition id and conditions.

    Args:
        program: a functional one.
        kept: which of its outputs are wanted.
        inputs: what steps call its inputs, in order.

    Raises:
        CaptureError: it uses an operator that no bundle can hold as data.
    """
    numbers = {name: number for number, (name, _) in enumerate(known.tensors)}
    encoded: dict[Node, Any] = {
        node: {TENSOR: str(numbers[name])} for node, (name, _) in _placed(module, program) if name in numbers
    }
    given = program.graph_signature.user_inputs
    names = dict(zip(given, inputs, strict=True))
    encoded |= {node: {TENSOR: names[node.name]} for node in program.graph.nodes if node.name in names}
    found = Recipe()
    (last,) = (node for node in program.graph.nodes if node.op == "output")
    wanted = [last.args[0][number] for number in kept]
    needed = _needed(wanted)
    for node in program.graph.nodes:
        if node.op != "call_function" or node not in needed:
            continue
        if _base(node) in _IDENTITIES:
            encoded[node] = _encoded(node.args[0], encoded)
            continue
        if _is_whole(node):
            encoded[node] = [_encoded(node.args[0], encoded)]
            continue
        if node.target is operator.getitem and isinstance(encoded[node.args[0]], list):
            encoded[node] = encoded[node.args[0]][node.args[1]]
            continue
        if node.target is not operator.getitem and not is_allowed(node.target):
            raise CaptureError(f"{node.target} in {where_in(node)} cannot be held as data")
        name = "getitem" if node.target is operator.getitem else str(node.target)
        named = {key: _encoded(value, encoded) for key, value in node.kwargs.items() if value is not None}
        for key in ("device", "pin_memory", "layout"):
            named.pop(key, None)
        found.steps.append([name, _encoded(list(node.args), encoded), named])
        encoded[node] = {STEP: len(found.steps) - 1}
    found.outputs = [_encoded(value, encoded) for value in wanted]
    return found


def _placed(module: nn.Module, program: ExportedProgram) -> list[tuple[Node, tuple[str, Tensor]]]:
    """The placeholders that are tensors of the module, with their names and tensors."""
    held = named_tensors(module)
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    found = []
    for node in program.graph.nodes:
        spec = specs.get(node.name) if node.op == "placeholder" else None
        if spec is None or spec.kind is InputKind.USER_INPUT:
            continue
        if spec.kind not in _TENSORS:
            raise CaptureError(f"{spec.target} is an object that only PyTorch can run")
        name = str(spec.target)
        tensor = held[name] if name in held else program.constants[name]
        found.append((node, (name, tensor)))
    return found


def _needed(wanted: Sequence[Node]) -> set[Node]:
    needed, pending = set(wanted), list(wanted)
    while pending:
        for node in pending.pop().all_input_nodes:
            if node not in needed:
                needed.add(node)
                pending.append(node)
    return needed


def _is_whole(node: Node) -> bool:
    """Whether it cuts a tensor into one piece, as a hypernetwork does with the weights of one condition."""
    return _base(node) in ("split", "split_with_sizes", "chunk") and len(node.meta["val"]) == 1


def _base(node: Node) -> str:
    return node.target._schema.name.removeprefix("aten::") if isinstance(node.target, torch._ops.OpOverload) else ""


def _encoded(value: Any, encoded: Mapping[Node, Any]) -> Any:
    if isinstance(value, Node):
        return encoded[value]
    if isinstance(value, list | tuple):
        return [_encoded(item, encoded) for item in value]
    if isinstance(value, torch.dtype):
        return {DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.memory_format | torch.layout | torch.device):
        return None
    raise CaptureError(f"a step has the argument {value!r}, which no file can hold")
