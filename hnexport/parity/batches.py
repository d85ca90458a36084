"""Which batches an artifact is tried with, and one way to run them, whatever batch sizes it is limited to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import HnexportError, ParityError
from hnexport.parity.limits import Limits

if TYPE_CHECKING:
    from hnexport.parity.runners import Runner

__all__ = ["DEFAULT_BATCH_SIZES", "allowed_sizes", "filled", "member_batches", "run_member", "run_rows", "said"]

Array = NDArray[np.generic]

DEFAULT_BATCH_SIZES = (1, 3, 6)


def allowed_sizes(name: Path | str, limits: Limits, asked: Sequence[int] | None) -> tuple[int, ...]:
    """The batch sizes to try: those that were asked for, or the usual ones as far as the artifact runs them.

    Raises:
        ParityError: one that was asked for is one that it cannot run.
    """
    able = limits.batch_sizes
    if asked is None:
        usual = tuple(size for size in DEFAULT_BATCH_SIZES if able is None or size in able)
        return usual or (limits.least_batch,)
    unable = [size for size in asked if able is not None and size not in able]
    if unable and able is not None:
        runs = ", ".join(map(str, able)) if len(able) <= 8 else f"{min(able)} to {max(able)}"
        raise ParityError(
            f"{name} cannot run a batch of {unable[0]}, only of {runs}: "
            f"leave out --batch-sizes, or export it with a free batch axis"
        )
    return tuple(asked)


def member_batches(images: int, position: int, sizes: Sequence[int], limits: Limits) -> list[list[int]]:
    """Which images make up each batch: every member starts at another one, so that all meet all batch sizes.

    An artifact that is limited to some sizes meets all images too, in as many batches as that takes, and some of them
    at two places of a batch.
    """

    def batch(start: int, size: int) -> list[int]:
        return [(start + offset) % images for offset in range(size)]

    batches = [batch(position, size) for size in sizes]
    if limits.batch_sizes is not None:
        size = max(sizes)
        batches += [batch(position + done, size) for done in range(size, images, size)]
        if size > 1:
            batches.append(batch(position + 1, size))
    return batches


def filled(images: Array, limits: Limits) -> Array:
    """The smallest batch that the artifact runs and that starts with these images, repeated as often as needed."""
    able = limits.batch_sizes
    size = len(images) if able is None else next((one for one in sorted(able) if one >= len(images)), max(able))
    return images[np.arange(size) % len(images)]


def run_member(name: str, runner: "Runner", member: int, images: Array) -> Array:
    """Logits of one batch.

    Raises:
        ParityError: the runtime cannot run it.
    """
    try:
        return np.asarray(runner.run(member, images))
    except HnexportError:
        raise
    except Exception as error:  # each runtime has its own
        raise ParityError(
            f"{name} on {runner.runtime} cannot run member {member} with a batch of {len(images)}: {said(error)}"
        ) from error


def run_rows(name: str, runner: "Runner", member: int, images: Array) -> Array:
    """Logits of as many images as there are, in batches that the artifact runs.

    Raises:
        ParityError: the runtime cannot run them.
    """
    able = runner.limits.batch_sizes
    if able is None or len(images) in able:
        return run_member(name, runner, member, images)
    size = max((one for one in able if one <= len(images)), default=runner.limits.least_batch)
    rows = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        rows.append(run_member(name, runner, member, part[np.arange(size) % len(part)])[: len(part)])
    return np.concatenate(rows)


def said(error: Exception) -> str:
    """What a runtime's error says, without the trace that PyTorch puts into it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[-1] if len(lines) > 3 else " ".join(lines)
    return told[:500] or type(error).__name__
