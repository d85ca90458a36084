"""Which batches an artifact is tried with, and one way to run them, whatever batch sizes it is limited to."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import HnexportError, ParityError
from hnexport.families import Described
from hnexport.parity.limits import FULL, Limits
from hnexport.rows import batch_size, taken
from hnexport.spec import Signature
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from hnexport.parity.runners import Runner

__all__ = [
    "DEFAULT_BATCH_SIZES",
    "LARGE_BATCHES",
    "LARGE_SECONDS",
    "LARGE_WEIGHTS",
    "allowed_sizes",
    "filled",
    "first_samples",
    "in_parts",
    "is_large",
    "large_batch",
    "member_batches",
    "run_member",
    "run_rows",
    "said",
]

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]

DEFAULT_BATCH_SIZES = (1, 3)
"""Every member runs these, and all golden samples in one batch."""
LARGE_BATCHES = (33, 257)
"""One member runs these too, made of the golden samples again and again; the largest where that takes no longer than
`LARGE_SECONDS`."""
LARGE_SECONDS = 1.0
LARGE_WEIGHTS = 2**22
"""Members with more weights run `DEFAULT_BATCH_SIZES` alone, each with other samples; one of them meets all samples, in
`LARGE_BATCHES`, or in one batch where members run together."""


def is_large(described: Described) -> bool:
    """Whether a member has so many weights that it is tried with few samples.

    Where an output has no batch axis, which says something of all samples together, no member is.
    """
    weights = sum(math.prod(slot.shape) for slot in described.slots if slot.alias_of is None)
    return weights > LARGE_WEIGHTS and all(output.has_batch for output in described.signature.outputs)


def allowed_sizes(
    name: Path | str, limits: Limits, asked: Sequence[int] | None, samples: int | None
) -> tuple[int, ...]:
    """The batch sizes to try: those that were asked for, or the usual ones as far as the artifact runs them.

    Args:
        samples: all of them, as one batch more; None for members that are large.

    Raises:
        ParityError: one that was asked for is one that it cannot run.
    """
    if asked is None:
        sizes = DEFAULT_BATCH_SIZES if samples is None else (*DEFAULT_BATCH_SIZES, samples)
        usual = tuple(size for size in dict.fromkeys(sizes) if limits.runs(size))
        return usual or (limits.least_batch,)
    unable = next((size for size in asked if not limits.runs(size)), None)
    if unable is not None:
        raise ParityError(
            f"{name} cannot run a batch of {unable}, only of {_told(limits)}: "
            f"leave out {spelled('batch_sizes', '--batch-sizes')}, or export it with a free batch axis"
        )
    return tuple(asked)


def _told(limits: Limits) -> str:
    able = limits.batch_sizes
    if able is None:
        return f"{limits.least_batch} or more"
    return ", ".join(map(str, able)) if len(able) <= 8 else f"{min(able)} to {max(able)}"


def member_batches(
    samples: int, position: int, sizes: Sequence[int], limits: Limits, *, every_sample: bool = True
) -> list[list[int]]:
    """Which samples make up each batch: every member starts at another one, so that all meet all batch sizes.

    Every member meets all samples: in one batch in their order where that is among the sizes, otherwise in as many
    batches as it takes. An artifact that is limited to some sizes meets some of them at two places of a batch.

    Args:
        every_sample: otherwise no further batches are added, where the artifact runs batches of any size.
    """

    def batch(start: int, size: int) -> list[int]:
        return [(start + offset) % samples for offset in range(size)]

    batches = [list(range(samples)) if size == samples else batch(position, size) for size in sizes]
    size = max(sizes)
    if size < samples and (every_sample or not limits.runs_any_batch):
        batches += [batch(position + done, size) for done in range(size, samples, size)]
    if not limits.runs_any_batch and size > 1:
        batches.append(batch(position + 1, size))
    return batches


def large_batch(samples: int, size: int) -> list[int]:
    """The golden samples again and again."""
    return [number % samples for number in range(size)]


def first_samples(signature: Signature, golden: Golden, count: int, limits: Limits = FULL) -> dict[str, Array]:
    """The smallest batch that the artifact runs and that starts with so many golden samples, or with all there are."""
    return filled(signature, taken(signature, golden.inputs, slice(0, count)), limits)


def filled(signature: Signature, inputs: Inputs, limits: Limits) -> dict[str, Array]:
    """The smallest batch that the artifact runs and that starts with these samples, repeated as often as needed."""
    return _repeated(signature, inputs, limits.size_for(batch_size(signature, inputs)))


def in_parts(signature: Signature, inputs: Inputs, limits: Limits) -> Iterator[tuple[dict[str, Array], int]]:
    """Batches that the artifact runs, and with how many of the samples each begins; a short one is filled up."""
    samples = batch_size(signature, inputs)
    size = limits.size_within(samples)
    for start in range(0, samples, size):
        part = taken(signature, inputs, slice(start, start + size))
        yield _repeated(signature, part, size), batch_size(signature, part)


def _repeated(signature: Signature, inputs: Inputs, size: int) -> dict[str, Array]:
    samples = batch_size(signature, inputs)
    return dict(inputs) if samples == size else taken(signature, inputs, [row % samples for row in range(size)])


def run_member(name: str, runner: "Runner", member: int, inputs: Inputs) -> dict[str, Array]:
    """The outputs of one batch by name.

    Raises:
        ParityError: the runtime cannot run it.
    """
    try:
        return {output: np.asarray(value) for output, value in runner.run(member, inputs).items()}
    except HnexportError:
        raise
    except Exception as error:  # each runtime has its own
        sizes = {len(array) for array in inputs.values() if np.ndim(array)}
        size = f"a batch of {min(sizes)}" if len(sizes) == 1 else f"inputs of {sorted(sizes)}"
        raise ParityError(
            f"{name} on {runner.runtime} cannot run member {member} with {size}: {said(error)}"
        ) from error


def run_rows(name: str, runner: "Runner", member: int, signature: Signature, inputs: Inputs) -> dict[str, Array]:
    """The outputs of as many samples as there are, in batches that the artifact runs.

    Raises:
        ParityError: the runtime cannot run them.
    """
    parts = [
        (run_member(name, runner, member, batch), count) for batch, count in in_parts(signature, inputs, runner.limits)
    ]
    return {
        output.name: np.concatenate([found[output.name][:count] for found, count in parts])
        if output.has_batch
        else parts[0][0][output.name]
        for output in signature.outputs
        if all(output.name in found for found, _ in parts)
    }


def said(error: Exception) -> str:
    """What a runtime's error says, without the trace that PyTorch puts into it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[-1] if len(lines) > 3 else " ".join(lines)
    return told[:500] or type(error).__name__
