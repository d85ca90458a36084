"""Which batches an artifact is tried with, and one way to run them, whatever batch sizes it is limited to."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import HnexportError, ParityError
from hnexport.parity.limits import Limits

if TYPE_CHECKING:
    from hnexport.parity.runners import Runner

__all__ = [
    "DEFAULT_BATCH_SIZES",
    "allowed_sizes",
    "filled",
    "in_parts",
    "member_batches",
    "run_member",
    "run_rows",
    "said",
]

Array = NDArray[np.generic]

DEFAULT_BATCH_SIZES = (1, 3, 6)


def allowed_sizes(name: Path | str, limits: Limits, asked: Sequence[int] | None) -> tuple[int, ...]:
    """The batch sizes to try: those that were asked for, or the usual ones as far as the artifact runs them.

    Raises:
        ParityError: one that was asked for is one that it cannot run.
    """
    if asked is None:
        usual = tuple(size for size in DEFAULT_BATCH_SIZES if limits.runs(size))
        return usual or (limits.least_batch,)
    unable = next((size for size in asked if not limits.runs(size)), None)
    if unable is not None:
        raise ParityError(
            f"{name} cannot run a batch of {unable}, only of {_told(limits)}: "
            f"leave out --batch-sizes, or export it with a free batch axis"
        )
    return tuple(asked)


def _told(limits: Limits) -> str:
    able = limits.batch_sizes
    if able is None:
        return f"{limits.least_batch} or more"
    return ", ".join(map(str, able)) if len(able) <= 8 else f"{min(able)} to {max(able)}"


def member_batches(images: int, position: int, sizes: Sequence[int], limits: Limits) -> list[list[int]]:
    """Which images make up each batch: every member starts at another one, so that all meet all batch sizes.

    An artifact that is limited to some sizes meets all images too, in as many batches as that takes, and some of them
    at two places of a batch.
    """

    def batch(start: int, size: int) -> list[int]:
        return [(start + offset) % images for offset in range(size)]

    batches = [batch(position, size) for size in sizes]
    if not limits.runs_any_batch:
        size = max(sizes)
        batches += [batch(position + done, size) for done in range(size, images, size)]
        if size > 1:
            batches.append(batch(position + 1, size))
    return batches


def filled(images: Array, limits: Limits) -> Array:
    """The smallest batch that the artifact runs and that starts with these images, repeated as often as needed."""
    return _repeated(images, limits.size_for(len(images)))


def in_parts(images: Array, limits: Limits) -> Iterator[tuple[Array, int]]:
    """Batches that the artifact runs, and with how many of the images each begins; a short one is filled up."""
    size = limits.size_within(len(images))
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield _repeated(part, size), len(part)


def _repeated(images: Array, size: int) -> Array:
    return images if len(images) == size else images[np.arange(size) % len(images)]


def run_member(name: str, runner: "Runner", member: int, images: Array) -> Array:
    """Logits of one batch.

    Raises:
        ParityError: the runtime cannot run it.
    """
    try:
        return np.asarray(runner.run(member, {"image": images})["logits"])
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
    parts = in_parts(images, runner.limits)
    return np.concatenate([run_member(name, runner, member, batch)[:count] for batch, count in parts])


def said(error: Exception) -> str:
    """What a runtime's error says, without the trace that PyTorch puts into it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[-1] if len(lines) > 3 else " ".join(lines)
    return told[:500] or type(error).__name__
