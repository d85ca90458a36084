"""A captured network beside the module that it was captured from: at other sizes, with other samples in the batch."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hnexport.errors import SpecError
from hnexport.halves import output_leaves
from hnexport.networks.modules.inputs import Inputs, resized
from hnexport.networks.modules.tensors import is_same_closely
from hnexport.programs.attention import plain_attention
from hnexport.programs.tracing import exporters_warnings
from hnexport.spec import BATCH, OutputSpec

__all__ = ["check_samples", "check_sizes", "differing", "outputs_of"]

TOLERANCE = 1e-3
"""Relative L2: the same operators in the same library; a branch or a baked-in number is wrong by far more."""
_REMEDY = "remove what depends on the size (`if x.shape[0] > 1`, `squeeze()`), or declare the axis as fixed"


def outputs_of(module: Callable[..., Any], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """The tensors that a module returns."""
    with torch.no_grad(), plain_attention():
        return [leaf.detach().clone() for leaf in output_leaves(module(**inputs))]


def differing(found: list[Tensor], expected: list[Tensor], outputs: tuple[OutputSpec, ...]) -> str | None:
    """The first output, by name, that is not the same but for rounding."""
    for output, one, two in zip(outputs, found, expected, strict=True):
        if not is_same_closely(one, two, TOLERANCE):
            return f"{output.name} of shape {list(one.shape)}" if one.shape != two.shape else output.name
    return None


def check_sizes(module: nn.Module, program: ExportedProgram, inputs: Inputs, outputs: tuple[OutputSpec, ...]) -> None:
    """Run the captured graph at sizes that it was not captured with: a branch on a size would be baked in.

    Raises:
        SpecError: it computes something else than forward there.
    """
    with exporters_warnings():
        graph = program.module(check_guards=False)
    for name, size in inputs.sizes.items():
        for other in (1, 3) if name == BATCH else (1, size + 1):
            given = inputs.with_sizes({name: other})
            what = f"with the axis {name} of size {other}"
            try:
                expected = outputs_of(module, given)
            except Exception as error:
                if name == BATCH:
                    raise SpecError(f"{what} forward fails: {str(error)[:400]}") from error
                continue  # not a size that the network takes
            _check_shapes(expected, outputs, {**inputs.sizes, name: other}, what)
            try:
                found = outputs_of(graph, given)
            except Exception as error:
                raise SpecError(f"{what} the captured graph fails: {str(error)[:400]}; {_REMEDY}") from error
            output = differing(found, expected, outputs)
            if output is not None:
                raise SpecError(
                    f"{what} forward does not do what it does with size {size}: the captured graph would give another "
                    f"{output}; {_REMEDY}"
                )


def _check_shapes(found: list[Tensor], outputs: tuple[OutputSpec, ...], sizes: Mapping[str, int], what: str) -> None:
    for output, tensor in zip(outputs, found, strict=True):
        expected = [sizes.get(size, size) if isinstance(size, str) else size for size in output.shape]
        same = len(expected) == tensor.dim() and all(
            isinstance(size, str) or size == other for size, other in zip(expected, tensor.shape, strict=True)
        )
        if not same:
            raise SpecError(
                f"{what} forward returns {output.name} with the shape {list(tensor.shape)}, not {expected}; {_REMEDY}"
            )


def check_samples(module: nn.Module, inputs: Inputs, outputs: tuple[OutputSpec, ...]) -> None:
    """Change one sample of a batch: the outputs of the others must stay.

    Raises:
        SpecError: they do not.
    """
    if BATCH not in inputs.sizes:
        return
    alone = inputs.with_sizes({BATCH: 1})
    same = {name: resized(tensor, {0: 3}) if _has_batch(inputs, name) else tensor for name, tensor in alone.items()}
    for change in (_another, _larger, _opposite):
        beside = {
            name: torch.cat([alone[name], change(alone[name]), alone[name]]) if _has_batch(inputs, name) else tensor
            for name, tensor in same.items()
        }
        found = expected = list[Tensor]()
        with suppress(Exception):  # a network may refuse the changed sample: then nothing is known
            expected, found = outputs_of(module, same), outputs_of(module, beside)
        for output, one, two in zip(outputs, found, expected, strict=bool(found)):
            if output.has_batch and not is_same_closely(one[::2], two[::2], TOLERANCE):
                raise SpecError(
                    f"the output {output.name} of one sample depends on the other samples of its batch: "
                    "members could not be compared sample by sample; let forward treat each alone"
                )


def _has_batch(inputs: Inputs, name: str) -> bool:
    return inputs.dynamic[name].get(0) == BATCH


def _larger(sample: Tensor) -> Tensor:
    """One whose sum, mean and largest number are others too, where it is of floating-point numbers."""
    return sample * 2 if sample.is_floating_point() else _another(sample)


def _opposite(sample: Tensor) -> Tensor:
    """One that outweighs two others of the other sign, where it is of floating-point numbers."""
    return sample * -3 if sample.is_floating_point() else _another(sample)


def _another(sample: Tensor) -> Tensor:
    """Another sample of the same values: turned around; one that looks the same then gets a ramp, or zeros and ones."""
    turned = sample.flip(tuple(range(1, sample.dim())))
    if not torch.equal(turned, sample):
        return turned
    if sample.dtype is torch.bool:
        return ~sample
    if not sample.is_floating_point():  # an index of 1 is the most probable to exist beside that of the example
        marks = (torch.arange(sample.numel()) % 2 == 0).reshape(sample.shape)
        return torch.where(marks, (sample == 0).to(sample.dtype), sample)
    ramp = torch.linspace(0, 1, max(sample.numel(), 2), dtype=sample.dtype)[: sample.numel()]
    return sample + ramp.reshape(sample.shape) + (sample.dim() == 1)
