"""What a program may write, told from its operators: to bring it into functional form costs as much as to trace it."""

from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node

__all__ = ["may_write"]

_FRESH = ("batch_norm", "conv1d", "conv2d", "conv3d", "group_norm", "layer_norm", "linear", "matmul", "max_pool2d")
"""Of the operators that PyTorch composes of others: their results are never their arguments."""
_PLAIN = ("_operator", "math", "torch")
"""Modules whose functions work on sizes."""


def may_write(program: ExportedProgram) -> bool:
    """Whether anything that a program does not make itself might be written: a buffer, a parameter, an input.

    True does not say that it is; `ExportedProgram.run_decompositions({})` knows. False is certain.
    """
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.parameters_to_mutate or signature.user_inputs_to_mutate:
        return True
    own: set[Node] = set()  # nodes that hold memory which the program made itself
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        if not isinstance(node.target, OpOverload):
            if not _is_plain(node.target):
                return True  # branches and loops have graphs of their own
        elif _writes_others(node, own):
            return True
        if _is_fresh(node.target) or all(argument in own for argument in node.all_input_nodes):
            own.add(node)
    return False


def _is_plain(target: Any) -> bool:
    return callable(target) and getattr(target, "__module__", None) in _PLAIN


def _is_fresh(target: Any) -> bool:
    """Whether an operator's results are new memory: no argument's, in whole or in part."""
    if not isinstance(target, OpOverload) or any(value.alias_info is not None for value in target._schema.returns):
        return False
    name = ".".join(filter(None, (target._schema.name, target._schema.overload_name)))
    composed = torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")
    return not composed or (target.namespace == "aten" and target._opname in _FRESH)


def _writes_others(node: Node, own: set[Node]) -> bool:
    target: Any = node.target
    given = dict(zip((argument.name for argument in target._schema.arguments), node.args, strict=False)) | node.kwargs
    if any(word in target._opname for word in ("batch_norm", "instance_norm")) and not (  # their schemas do not say it
        given.get("training") is False or given.get("use_input_stats") is False
    ):
        return True
    written = [
        item.name for item in target._schema.arguments if item.alias_info is not None and item.alias_info.is_write
    ]
    values = [value for name in written for value in _listed(given.get(name))]
    return any(isinstance(value, Node) and value not in own for value in values)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
