"""A hypernetwork captured as steps over its tensors: what it makes of a condition id and conditions, as data."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hnexport.errors import CaptureError, SpecError
from hnexport.names import COND_ID
from hnexport.networks.modules.inputs import Inputs
from hnexport.networks.modules.members import check_finite
from hnexport.networks.modules.refusals import check_program
from hnexport.networks.modules.tensors import dtype_name
from hnexport.networks.modules.traced import trace
from hnexport.networks.steps.reading import Recipe, functional, read, recipe_of
from hnexport.networks.steps.written import INPUT, OUTPUTS, STEPS, TENSOR, tensors_in, with_names
from hnexport.programs.attention import plain_attention
from hnexport.reading import shown
from hnexport.spec import Slot, StoredKind, StoredTensor, stored_as

__all__ = ["WHERE", "Captured", "captured", "weights_of"]

WHERE = "hypernet"
_LOOKED_INTO = (
    "Python looks into the condition id (`if cond_id == 0`, `self.heads[cond_id]`, `int(cond_id)`): stack what belongs "
    "to members, and select it with index_select(0, cond_id.reshape(1))"
)
_VIEWS = ("aten.view.default", "aten._unsafe_view.default")
_SCALARS = ("item", "_local_scalar_dense", "sym_constrain_range", "_assert_scalar")


@dataclass(frozen=True, kw_only=True, eq=False)
class Captured:
    """The hypernetwork: its tensors, `values` by their stored names, and its steps as data."""

    stored: tuple[StoredTensor, ...]
    values: Mapping[str, Tensor]
    spec: Mapping[str, Any]


def weights_of(hypernet: nn.Module, cond_id: int | None, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a hypernetwork returns, by the names of the network's tensors.

    Args:
        cond_id: None where it takes none.

    Raises:
        SpecError: it fails, or returns something else.
    """
    ids = () if cond_id is None else (torch.tensor(cond_id),)
    try:
        with torch.no_grad(), plain_attention():
            found = hypernet(*ids, **conditions)
    except Exception as error:
        at = f" for the condition id {cond_id}" if ids else ""
        raise SpecError(f"{WHERE}.forward fails{at}: {type(error).__name__}: {str(error)[:400]}") from error
    if not isinstance(found, Mapping) or not found:
        raise SpecError(f"{WHERE}.forward returns {shown(found)}: expected a dict of the network's tensors by name")
    wrong = next((name for name, value in found.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        raise SpecError(f"{WHERE}.forward returns {type(found[wrong]).__name__} as {shown(wrong)}, expected a tensor")
    return dict(found)


class _Halved(nn.Module):
    """A hypernetwork as it is captured: some of the tensors that it returns, in an order, as a tuple.

    Args:
        inputs: the names by which it is called, the condition id among them where it takes one.
    """

    def __init__(self, hypernet: nn.Module, names: Sequence[str], inputs: Iterable[str]) -> None:
        super().__init__()
        self.hypernet = hypernet

        def forward(**given: Tensor) -> tuple[Tensor, ...]:
            ids = (given.pop(COND_ID),) if COND_ID in given else ()
            found = self.hypernet(*ids, **given)
            return tuple(found[name] for name in names)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        forward.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in inputs])  # type: ignore[attr-defined]
        self.forward = forward


def captured(hypernet: nn.Module, names: Mapping[str, str], slots: Mapping[str, Slot], given: Inputs) -> Captured:
    """Capture a hypernetwork.

    Args:
        names: by slot, what the hypernetwork calls it.
        slots: by name, those of the network that are no alias.
        given: the condition id, where it takes one, and its conditions.

    Raises:
        SpecError: it is random, writes its tensors, or does not use its inputs.
        CaptureError: `torch.export` refuses it, or it uses an operator that no bundle can hold.
    """
    module = _Halved(hypernet, list(names.values()), given.examples).eval()
    try:
        program, _ = trace(WHERE, module, given)
    except CaptureError as error:
        hint = _LOOKED_INTO if COND_ID in given.examples and _is_about_values(str(error)) else ""
        raise CaptureError(f"{error}; {hint}" if hint else str(error)) from error
    _select_by_tensor(program)
    without_writes = functional(program)
    _check_inputs(without_writes, given)
    check_program(program)
    recipe, tensors = _recipe(module, without_writes, given)
    for step in recipe.steps:  # how values lie in memory depends on the kernels of a dtype and a device
        step[0] = "aten.reshape.default" if step[0] in _VIEWS else step[0]
    spec = {STEPS: recipe.steps, OUTPUTS: dict(zip(names, recipe.outputs, strict=True))}
    return _stored(spec, tensors, slots)


def _is_about_values(said: str) -> bool:
    return "a tensor's values" in said or "data-dependent" in said.lower() or "index" in said


def _select_by_tensor(program: ExportedProgram) -> None:
    """`weight[cond_id]` reads the id as a number: let it select by the id itself."""
    graph, aten = program.graph, torch.ops.aten
    for number in [node for node in graph.nodes if node.target is aten.item.default]:
        for node in [node for node in number.users if node.target is aten.select.int and node.args[2] is number]:
            tensor, axis, _ = node.args
            with graph.inserting_before(node):
                rows = graph.call_function(aten.reshape.default, (number.args[0], [1]))
                if number.args[0].op != "placeholder":  # `weight[cond_id - 1]`: what is negative counts from the end
                    size = tensor.meta["val"].shape[axis]
                    is_negative = graph.call_function(aten.lt.Scalar, (rows, 0))
                    from_end = graph.call_function(aten.add.Tensor, (rows, size))
                    rows = graph.call_function(aten.where.self, (is_negative, from_end, rows))
                chosen = graph.call_function(aten.index_select.default, (tensor, axis, rows))
                found = graph.call_function(aten.squeeze.dim, (chosen, axis))
            found.meta = dict(node.meta)
            node.replace_all_uses_with(found)
            graph.erase_node(node)
        if not number.users:
            graph.erase_node(number)


def _check_inputs(program: ExportedProgram, given: Inputs) -> None:
    """See that every input reaches an output."""
    used, pending = set[str](), [node for node in program.graph.nodes if node.op == "output"]
    while pending:
        fresh = [node for node in pending.pop().all_input_nodes if node.name not in used]
        used.update(node.name for node in fresh)
        pending += fresh
    for name, found in zip(given.examples, program.graph_signature.user_inputs, strict=True):
        if found in used:
            continue
        if name == COND_ID:
            raise SpecError(f"{WHERE}.forward does not use its condition id: all members would be equal")
        raise SpecError(f"{WHERE}.forward does not use its condition {name}: leave it out of example_inputs")


def _recipe(module: nn.Module, program: ExportedProgram, given: Inputs) -> tuple[Recipe, Sequence[tuple[str, Tensor]]]:
    inputs = [INPUT + name for name in given.examples]
    looked = next((node for node in program.graph.nodes if _base(node.target) in _SCALARS), None)
    if looked is not None:
        what = _LOOKED_INTO if COND_ID in given.examples else "Python looks into a condition: compute with tensors"
        raise CaptureError(f"{WHERE}: {what}")
    kept = range(len(program.graph_signature.user_outputs))
    known = read(module, program)
    try:
        return recipe_of(module, program, known, kept, inputs), known.tensors
    except CaptureError:  # an operator that is written otherwise among PyTorch's core ones
        program = program.run_decompositions()
        known = read(module, program)
        return recipe_of(module, program, known, kept, inputs), known.tensors


def _base(target: object) -> str:
    name: str = target._schema.name if isinstance(target, torch._ops.OpOverload) else ""
    return name.rpartition("::")[2]


def _stored(spec: dict[str, Any], tensors: Sequence[tuple[str, Tensor]], slots: Mapping[str, Slot]) -> Captured:
    """Name the tensors; what is a slot as it is belongs to that slot."""
    used = [name for name in tensors_in(spec) if not name.startswith(INPUT)]
    direct = {
        value[TENSOR]: slot
        for slot, value in spec[OUTPUTS].items()
        if TENSOR in value and used.count(value[TENSOR]) == 1
    }
    renamed: dict[str, str] = {}
    stored, values = [], {}
    for number in dict.fromkeys(used):
        path, tensor = tensors[int(number)]
        if number in direct:
            item = stored_as(slots[direct[number]], 1, shared=True)
        else:
            item = StoredTensor(
                name=path if path.startswith(f"{WHERE}.") else f"{WHERE}.{path}",
                dtype=dtype_name(f"{WHERE}: {path}", tensor),
                shape=tuple(tensor.shape),
                kind=StoredKind.HIDDEN if tensor.dim() > 1 else StoredKind.HIDDEN_BIAS,
                hypernet=WHERE,
                trained=isinstance(tensor, nn.Parameter) and tensor.is_floating_point(),
            )
            renamed[number] = item.name
        check_finite(WHERE, [(path, tensor)])
        stored.append(item)
        values[item.name] = tensor.detach().clone().contiguous()
    outputs = {slot: value for slot, value in spec[OUTPUTS].items() if slot not in direct.values()}
    return Captured(
        stored=tuple(stored), values=values, spec=with_names({STEPS: spec[STEPS], OUTPUTS: outputs}, renamed)
    )
