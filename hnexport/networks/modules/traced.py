"""One member captured by `torch.export`: what it computes, as text, and which of its tensors that uses."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node

from hnexport.blame import users_line
from hnexport.errors import CaptureError
from hnexport.networks.modules.inputs import Inputs
from hnexport.networks.modules.members import place
from hnexport.programs.tracing import dynamic_shapes, exported

__all__ = ["Step", "Traced", "nodes", "trace", "where_in"]

_SLOTS = (InputKind.PARAMETER, InputKind.BUFFER)
_LONGEST_REASON = 400


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node of the graph: `text` is all that it does, `where` the module that it belongs to."""

    text: str
    where: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """What a member computes.

    Attributes:
        used: the parameters and buffers that the graph uses, by name; of a tied one, one of its names.
        constants: tensors in the graph that are neither: literals, attributes that are not registered.
    """

    steps: tuple[Step, ...]
    used: tuple[str, ...]
    constants: Mapping[str, Tensor]


def trace(where: str, module: nn.Module, inputs: Inputs) -> tuple[ExportedProgram, Traced]:
    """Capture a module.

    Raises:
        CaptureError: `torch.export` refuses it, for the reason that is passed on.
    """
    try:
        with torch.no_grad():
            program = exported(module, (), inputs.examples, dynamic_shapes(inputs.examples, inputs.dynamic))
    except Exception as error:
        reason = f"{_reason(error)}; its inputs were {inputs.described}{users_line(error)}"
        raise CaptureError(f"torch.export cannot capture {where}: {reason}") from error
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    used, constants, steps = [], {}, []
    for node in nodes(program.graph_module):
        spec = specs.get(node.name) if node.op == "placeholder" and node.graph is program.graph else None
        if spec is None:
            steps.append(Step(text=_text(node), where=where_in(node)))
        elif node.users:
            steps.append(Step(text=f"{node.name} = {spec.target or spec.arg.name}", where=where_in(node)))
            if spec.kind in _SLOTS:
                used.append(str(spec.target))
            elif spec.kind is InputKind.CONSTANT_TENSOR:
                constants[str(spec.target)] = program.constants[str(spec.target)]
            elif spec.kind is not InputKind.USER_INPUT:
                raise CaptureError(f"{where} holds {spec.target}, an object that only PyTorch can run")
    return program, Traced(steps=tuple(steps), used=tuple(used), constants=constants)


def nodes(graph: GraphModule) -> Iterator[Node]:
    """The nodes of a graph and of the graphs in it (branches of `torch.cond`), in order."""
    for node in graph.graph.nodes:
        yield node
        if node.op == "get_attr":
            inner = getattr(graph, str(node.target), None)
            if isinstance(inner, GraphModule):
                yield from nodes(inner)


def where_in(node: Node) -> str:
    """The module that a node belongs to: its path and class."""
    stack: Mapping[str, Any] = node.meta.get("nn_module_stack") or {}
    known = [(path, kind) for path, kind in stack.values() if "metadata_hook" not in path]
    if not known:
        return "its forward"
    path, kind = known[-1]
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    return place(re.sub(r"^L\['self'\]\.?", "", path), name.rpartition(".")[2])


def _text(node: Node) -> str:
    what = node.target if node.op == "call_function" else f"{node.op} {node.target}"
    return f"{node.name} = {what}({', '.join(map(str, node.args))}, {node.kwargs})"


def _reason(error: Exception) -> str:
    """The first sentences of the exporter's message, and what to do where that is known."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    fixed = [re.sub(r"^[-*\s]+", "", line) for line in lines if line.startswith("- ")]
    text = " ".join(fixed) if "Constraints violated" in str(error) and fixed else " ".join(lines[:1])
    text = re.split(r"\. (?:If you're|For more|The following)", text)[0][:_LONGEST_REASON].rstrip(" .")
    text = text or type(error).__name__
    if "specialized it to be a constant" in text or "Constraints violated" in str(error):
        return f"{text}; declare that axis as fixed (leave it out of dynamic_axes), or remove what needs its size"
    if "data-dependent" in text.lower() or "DataDependent" in type(error).__name__:
        return f"{text}; a branch or size depends on a tensor's values: write it with torch.where or torch.cond"
    return text
