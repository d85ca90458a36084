"""The one capture: `torch.export` of the pipeline, from which every file format is written."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from hnexport.errors import CaptureError
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import stored_tensors

__all__ = ["GENERATOR_PREFIX", "Capture", "capture", "example_inputs", "tracer_warnings_as_errors"]

GENERATOR_PREFIX = "generator."  # where the pipeline keeps its stored tensors


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A captured pipeline: inputs `cond_id` and `image` (dynamic batch), output logits."""

    spec: PipelineSpec
    program: ExportedProgram

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The stored tensors by their names, not copied."""
        state = self.program.state_dict
        return {stored.name: state[GENERATOR_PREFIX + stored.name].detach() for stored in stored_tensors(self.spec)}


def capture(pipeline: Pipeline) -> Capture:
    """Capture a pipeline with a dynamic batch.

    Raises:
        CaptureError: `torch.export` refused it or warned, or what it captured has other inputs or tensors than the
            specification (a condition id that was baked in would show here).
    """
    dynamic = {"cond_id": None, "image": {0: Dim("batch", min=1)}}
    try:
        with tracer_warnings_as_errors():
            program = torch.export.export(pipeline, example_inputs(pipeline.spec), dynamic_shapes=dynamic)
    except Exception as error:
        raise CaptureError(f"torch.export could not capture {pipeline.spec.name}: {error}") from error
    for node in program.graph.nodes:  # they name this machine's folders, and would make equal builds differ
        node.meta.pop("stack_trace", None)
    _check(pipeline.spec, program)
    return Capture(spec=pipeline.spec, program=program)


def example_inputs(spec: PipelineSpec) -> tuple[Tensor, Tensor]:
    """A member that exists and two black images: what the tracers are shown."""
    dtype, shape = spec.image_input
    return torch.tensor(0), torch.zeros((2, *shape), dtype=getattr(torch, dtype))


@contextmanager
def tracer_warnings_as_errors() -> Iterator[None]:
    """A tracer's warning means that the graph may not be the program: make it an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("error", TracerWarning)
        yield


def _check(spec: PipelineSpec, program: ExportedProgram) -> None:
    signature = program.graph_signature
    if tuple(signature.user_inputs) != ("cond_id", "image"):
        raise CaptureError(f"expected the inputs cond_id and image, captured {list(signature.user_inputs)}")
    used = {node.name for node in program.graph.nodes if node.users}
    unused = [name for name in signature.user_inputs if name not in used]
    if unused:
        raise CaptureError(f"the captured graph does not use {unused[0]}: it was baked in")
    expected = {GENERATOR_PREFIX + stored.name: stored.dtype for stored in stored_tensors(spec)}
    held = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in program.state_dict.items()}
    if held.keys() != expected.keys():
        different = sorted(held.keys() ^ expected.keys())
        raise CaptureError(f"the captured graph holds other tensors than the pipeline: {different[:3]}")
    wrong = [name for name in expected if held[name] != expected[name]]
    if wrong:
        raise CaptureError(f"the captured graph holds {wrong[0]} in {held[wrong[0]]}, not in {expected[wrong[0]]}")
