"""A joint program `(cond_id, *inputs) -> outputs` with one id as a constant: the plain network of one member."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.node import map_arg

from hnexport.errors import CaptureError
from hnexport.export.capture import captured, open_up
from hnexport.export.narrow import narrow_products
from hnexport.programs.tracing import dynamic_shapes
from hnexport.spec import BATCH, Signature

__all__ = ["plain_program"]

_HELD = "member"
"""Before the names of what was generated."""


def plain_program(
    joint: ExportedProgram,
    signature: Signature,
    member: int,
    examples: Mapping[str, Tensor],
    *,
    batch: int | None = None,
    products: torch.dtype = torch.float32,
) -> ExportedProgram:
    """The program `(*inputs) -> outputs` of one member: what depends on the id alone is computed now, and kept.

    Args:
        joint: a bundle's `.pt2`.
        examples: of each input at least two samples.
        batch: the one batch size that it runs; None for any.
        products: what convolutions and matrix products compute in.

    Raises:
        CaptureError: `torch.export` refuses what is left.
    """
    unlifted = joint.module(check_guards=False)
    module = GraphModule(unlifted, unlifted.graph)
    module._forward_pre_hooks.clear()
    module.graph.set_codegen(CodeGen())  # flat inputs and outputs
    cond_id, *inputs = module.graph.find_nodes(op="placeholder")
    if len(inputs) != len(signature.inputs):
        raise CaptureError(f"the program takes {len(inputs)} inputs beside its id, the bundle {len(signature.inputs)}")
    with torch.no_grad():
        _fold(module, cond_id, set(inputs), member)
    for node, item in zip(inputs, signature.inputs, strict=True):
        node.target = item.name
    _return_one(module)
    if products is not torch.float32:
        narrow_products(module, products)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    _drop_unused(module)
    module.recompile()
    given = {item.name: _of_size(examples[item.name], batch if item.has_batch else None) for item in signature.inputs}
    open_axes = {
        item.name: {
            axis: size for axis, size in enumerate(item.shape) if isinstance(size, str) and (size != BATCH or not batch)
        }
        for item in signature.inputs
    }
    shapes = dynamic_shapes(given, open_axes)
    positional = tuple(given[item.name] for item in signature.inputs)
    program = captured(
        f"member {member}", module.eval(), positional, {}, tuple(shapes[item.name] for item in signature.inputs)
    )
    open_up(program)
    return program


def _return_one(module: GraphModule) -> None:
    """Let a network of one output return the tensor itself, as every other program of a bundle does."""
    returned = module.graph.output_node()
    (values,) = returned.args
    if isinstance(values, tuple | list) and len(values) == 1:
        returned.args = (values[0],)


def _of_size(tensor: Tensor, batch: int | None) -> Tensor:
    """The samples, as many as a fixed batch has."""
    return tensor if batch is None else tensor[torch.arange(batch) % len(tensor)]


def _fold(module: GraphModule, cond_id: Node, inputs: set[Node], member: int) -> None:
    """Compute every node that no input reaches; those that others need become buffers."""
    values: dict[Node, Any] = {cond_id: torch.tensor(member)}
    reached = set(inputs)
    for node in tuple(module.graph.nodes):
        if node in values or node in reached:
            continue
        if node.op == "get_attr":
            values[node] = _attribute(module, str(node.target))
        elif node.op == "call_function" and not reached.intersection(node.all_input_nodes):
            values[node] = _computed(node, values)
        else:
            reached.add(node)
    for number, node in enumerate(tuple(module.graph.nodes)):
        if node not in values or node.op == "get_attr" or not any(user in reached for user in node.users):
            continue
        value = values[node]
        if isinstance(value, Tensor):
            _keep(module, node, f"{_HELD}_{number}_{node.name}", value, reached)
        else:
            for user in [user for user in node.users if user in reached]:
                _write_in(user, node, value)
    for node in reversed(values):  # checks of the id among them
        if not node.users:
            module.graph.erase_node(node)


def _write_in(user: Node, node: Node, value: Any) -> None:
    """Let a node have a number in the place of what computes it."""
    user.args = map_arg(user.args, lambda one: value if one is node else one)
    user.kwargs = map_arg(user.kwargs, lambda one: value if one is node else one)


def _computed(node: Node, values: Mapping[Node, Any]) -> Any:
    args, kwargs = map_arg(node.args, values.__getitem__), map_arg(node.kwargs, values.__getitem__)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _keep(module: GraphModule, node: Node, name: str, value: Tensor, reached: set[Node]) -> None:
    """Let the nodes that the inputs reach read a value that was computed; an addition of zero goes."""
    users = [user for user in node.users if user in reached]
    if value.numel() == 1 and not value.any():
        for user in [user for user in users if _adds_to(user, node)]:
            user.replace_all_uses_with(user.args[0])  # type: ignore[arg-type]
            module.graph.erase_node(user)
            users.remove(user)
    if not users:
        return
    module.register_buffer(name, value.detach().clone().contiguous())
    with module.graph.inserting_before(node):
        held = module.graph.get_attr(name)
    for user in users:
        user.replace_input_with(node, held)


def _adds_to(user: Node, zero: Node) -> bool:
    """Whether a node is `x + zero` of a floating-point x that has at least as many axes: x itself."""
    if user.target is not torch.ops.aten.add.Tensor or user.args[1:] != (zero,) or user.kwargs:
        return False
    given, made = (one.meta.get("val") if isinstance(one, Node) else None for one in (user.args[0], user))
    return given is not None and made is not None and given.dtype == made.dtype and given.dim() == made.dim()


def _attribute(module: GraphModule, target: str) -> Any:
    found: Any = module
    for name in target.split("."):
        found = getattr(found, name)
    return found


def _drop_unused(module: GraphModule) -> None:
    """Remove parameters and buffers that the graph does not read: the hypernetwork's own."""
    used = {str(node.target) for node in module.graph.find_nodes(op="get_attr")}
    for path, owner in tuple(module.named_modules()):
        for held in (owner._parameters, owner._buffers):
            for name in [name for name in held if f"{path}.{name}".lstrip(".") not in used]:
                del held[name]
