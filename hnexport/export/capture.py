"""The capture: both halves of an ensemble as `torch.export` programs, from which every file format is written."""

import copy
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError
from hnexport.export.checks import check_captured, check_mode, check_names, check_used
from hnexport.export.joint import joint_module
from hnexport.halves import as_in_onnx_files
from hnexport.programs.tracing import dynamic_shapes, exported
from hnexport.programs.writes import may_write

__all__ = ["Capture", "Half", "capture", "captured", "open_up"]

_EXCLUDES = re.compile(r" (!=|<|>) ")
"""In a guard: what shuts single sizes out. Sizes that are equal, and least ones, are `==` and `>=`."""


@dataclass(frozen=True, kw_only=True)
class Half:
    """One half of an ensemble as a program.

    Attributes:
        outputs: the names of the program's tensors, in their order: slots (and the guard), or the network's outputs.
    """

    program: ExportedProgram
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """A captured ensemble.

    Attributes:
        generator: `(cond_id, conditions) -> slots`, over the stored tensors as the ONNX files hold them.
        network: `inputs -> outputs`, whose parameters and buffers are the slots.
    """

    ensemble: Ensemble
    generator: Half
    network: Half

    @cached_property
    def joint(self) -> ExportedProgram:
        """Both halves as one program `(cond_id, *inputs) -> outputs`, over the stored tensors as they are.

        Raises:
            CaptureError: `torch.export` refused it or warned, or the condition id was baked in.
        """
        ensemble = self.ensemble
        dynamic = dynamic_shapes(ensemble.examples, ensemble.dynamic)
        examples = (torch.tensor(0), *ensemble.examples.values())
        shapes = (None, *(dynamic[name] for name in ensemble.examples))
        program = captured(ensemble.name, joint_module(ensemble, self.network.program), examples, {}, shapes)
        open_up(program)
        check_captured(ensemble, program)
        return program

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors by their names, not copied."""
        return self.ensemble.tensors


def capture(ensemble: Ensemble) -> Capture:
    """Capture both halves, with the axes of any size that the ensemble declares.

    Raises:
        CaptureError: `torch.export` refused a half or warned; a name stands twice; the network is in training mode;
            the halves have other slots, inputs, outputs or tensors than the ensemble says.
    """
    check_names(ensemble)
    check_mode(ensemble)
    network, signature = _with_storage(ensemble.network), ensemble.signature
    examples, conditions = (
        {item.name: ensemble.examples[item.name] for item in half}
        for half in (signature.of_network, signature.of_generator)
    )
    shapes = dynamic_shapes(examples, ensemble.dynamic)
    program = captured(f"the network of {ensemble.name}", network, (), examples, shapes)
    outputs = tuple(output.name for output in ensemble.signature.outputs)
    generator = as_in_onnx_files(ensemble.generator)
    generated = captured(f"the generator of {ensemble.name}", generator, (torch.tensor(0),), conditions, None)
    check_used(generated, signature.conditions)
    return Capture(
        ensemble=ensemble,
        generator=Half(program=generated, outputs=_output_names(generated)),
        network=Half(program=program, outputs=outputs),
    )


def captured(
    what: str, module: nn.Module, positional: tuple[Tensor, ...], named: dict[str, Tensor], shapes: Any
) -> ExportedProgram:
    """A module as a program that keeps nothing of this machine.

    Raises:
        CaptureError: `torch.export` refused it or warned, or it writes its buffers.
    """
    try:
        program = exported(module, positional, named, shapes)
    except Exception as error:
        raise CaptureError(f"torch.export could not capture {what}: {error}{_remedy(error)}") from error
    for node in program.graph.nodes:  # they name this machine's folders, and would make equal builds differ
        node.meta.pop("stack_trace", None)
    _check_writes(what, program)
    return program


def _check_writes(what: str, program: ExportedProgram) -> None:
    """Refuse a program that writes its buffers: a file keeps nothing between two calls."""
    if not may_write(program):
        return
    written = program.run_decompositions({}).graph_signature.buffers_to_mutate
    if written:
        raise CaptureError(
            f"{what} writes its buffer {next(iter(written.values()))!r}: a file keeps nothing between two calls; "
            "compute it without the buffer, or call eval() if it belongs to training"
        )


def open_up(program: ExportedProgram) -> None:
    """Let a program run at sizes, and with strides, that the tracer did not see."""
    _open_sizes(program)
    _open_strides(program)


def _open_sizes(program: ExportedProgram) -> None:
    """Drop the guards against single sizes, which a loaded `.pt2` raises for a batch of 1.

    The tracer writes them where it asks whether memory lies in order. Whether the graph is right at such a size, parity
    finds out by running it.
    """
    guards = getattr(program, "_guards_code", None)
    if guards:
        guards[:] = [guard for guard in guards if not _EXCLUDES.search(guard)]


def _open_strides(program: ExportedProgram) -> None:
    """Ask for shapes alone: how values lie in memory depends on the kernels of a device.

    A `view` that the tracer could take on the CPU fails after the attention of a GPU.
    """
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            if node.target is torch.ops.aten.view.default:
                node.target = torch.ops.aten.reshape.default
    program.graph_module.recompile()


def _remedy(error: Exception) -> str:
    if "Constraints violated" not in str(error):
        return ""
    return (
        "\nThe network was written for the size that the example has: declare this axis as fixed, "
        "or change what depends on its size"
    )


def _with_storage(network: nn.Module) -> nn.Module:
    """The network on the CPU: of one on the meta device a copy, whose memory is never touched."""
    if not any(tensor.is_meta for tensor in named_tensors(network).values()):
        return network
    return copy.deepcopy(network).to_empty(device="cpu")


def _output_names(program: ExportedProgram) -> tuple[str, ...]:
    """The keys of the dictionary that a program returns, in the order of its tensors."""
    tree: Any = program.call_spec.out_spec
    numbers = pytree.tree_unflatten(range(tree.num_leaves), tree)
    if not isinstance(numbers, dict):
        raise CaptureError(f"a generator returns a dictionary of tensors by slot, found {type(numbers).__name__}")
    return tuple(sorted(numbers, key=numbers.__getitem__))
