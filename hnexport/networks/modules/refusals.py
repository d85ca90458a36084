"""What a captured network must not do: change itself, be random, mix the samples of a batch, ignore an input."""

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from hnexport.errors import CaptureError, SpecError
from hnexport.networks.modules.traced import nodes, where_in
from hnexport.programs.tracing import exporters_warnings
from hnexport.programs.writes import may_write

__all__ = ["check_program"]

_HALF = (torch.float16, torch.bfloat16)
_CASTS = ("aten::to", "aten::_to_copy", "aten::type_as")


def check_program(program: ExportedProgram) -> None:
    """Refuse a network that cannot be a function of its inputs and weights alone, sample by sample.

    Raises:
        SpecError: it writes a buffer or an input, is random, uses the batch's own statistics, computes in half
            precision, or does not use an input.
        CaptureError: `torch.export` cannot bring it into the form in which writes are seen.
    """
    _check_inputs(program)
    for node in nodes(program.graph_module):
        if isinstance(node.target, torch._ops.OpOverload):
            _check_random(node)
            _check_statistics(node)
            _check_half(node)
    _check_writes(program)


def _check_inputs(program: ExportedProgram) -> None:
    given = [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in given and not node.users:
            raise SpecError(f"forward does not use its input {node.name}: leave it out of example_inputs")


def _check_random(node: Node) -> None:
    if torch.Tag.nondeterministic_seeded not in node.target.tags:  # type: ignore[union-attr]
        return
    given = _arguments(node)
    inert = given.get("train") is False or given.get("training") is False
    if inert or any(given.get(name) == 0 for name in ("p", "dropout_p", "dropout")):
        return
    raise SpecError(
        f"{_name(node)} in {where_in(node)} draws random numbers: a graph that does so cannot be compared; where it is "
        "dropout, pass `training=self.training`"
    )


def _check_statistics(node: Node) -> None:
    if "batch_norm" in _name(node) and _arguments(node).get("training") is True:
        raise SpecError(
            f"{where_in(node)} has no running statistics: it normalises over the batch, so that each sample's output "
            "depends on the others; train it with track_running_stats=True (in hypnettorch bn_track_stats=True)"
        )


def _check_half(node: Node) -> None:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor) and value.dtype in _HALF and _name(node) not in _CASTS:
        dtype = str(value.dtype).removeprefix("torch.")
        raise SpecError(
            f"{_name(node)} in {where_in(node)} computes in {dtype}, in which nothing can be compared with float32's "
            "precision: give the modules in float32 (`net.float()`, without autocast)"
        )


def _check_writes(program: ExportedProgram) -> None:
    if not may_write(program):
        return
    try:
        with exporters_warnings():
            written = program.run_decompositions({}).graph_signature
    except Exception as error:
        raise CaptureError(f"torch.export cannot tell what the network writes: {str(error)[:400]}") from error
    for what, names, remedy in (
        ("buffer", written.buffers_to_mutate, "an exported graph forgets it; compute without writing, or freeze it"),
        ("parameter", written.parameters_to_mutate, "an exported graph forgets it; compute without writing"),
        ("input", written.user_inputs_to_mutate, "write into a copy (`x = x.clone()`)"),
    ):
        for name in names.values():
            raise SpecError(f"forward writes into its {what} {name}: {remedy}")


def _arguments(node: Node) -> dict[str, Any]:
    """By name, with the defaults that are not written."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    named = dict(zip((argument.name for argument in schema), node.args, strict=False))
    return {**given, **named, **node.kwargs}


def _name(node: Node) -> str:
    return str(node.target._schema.name)  # type: ignore[union-attr]
