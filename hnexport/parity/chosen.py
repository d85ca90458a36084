"""The golden samples of the members that somebody asks for, whether a bundle holds them or not."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest
from hnexport.parity.reference import checked_members, compute_golden
from hnexport.parity.trusted import trusted_tensors
from hnexport.progress import Progress, no_progress
from hnexport.trust import NOBODY, Trust

Array = NDArray[Any]

__all__ = ["chosen_golden", "golden_rows"]


def chosen_golden(
    bundle: Path,
    manifest: Manifest,
    members: Sequence[int] | None,
    trust: Trust = NOBODY,
    progress: Progress = no_progress,
) -> Golden:
    """The golden samples of the members that were asked for (None: those that are held); the others are computed.

    Raises:
        BundleError: they cannot be read.
        ParityError: a member does not exist.
    """
    golden = read_golden(bundle, manifest)
    if members is None:
        return golden
    chosen = checked_members(manifest.spec.members, members)
    held = golden.members.tolist()
    missing = [member for member in chosen if member not in held]
    if missing:
        tensors = trusted_tensors(bundle, manifest, golden.fingerprints, trust)
        computed = compute_golden(
            manifest.spec,
            tensors,
            missing,
            golden.images,
            progress=progress,
        )
        golden = _joined(golden, computed)
    rows = [golden.members.tolist().index(member) for member in chosen]
    return golden_rows(golden, rows)


def _joined(first: Golden, second: Golden) -> Golden:
    def both(one: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.concatenate([array, other[name]]) for name, array in one.items()}

    return dataclasses.replace(
        first,
        members=np.concatenate([first.members, second.members]),
        outputs=both(first.outputs, second.outputs),
        eager=both(first.eager, second.eager),
        noise=both(first.noise, second.noise),
    )


def golden_rows(golden: Golden, rows: Sequence[int]) -> Golden:
    """Some of the members, by their positions."""

    def some(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[rows] for name, array in arrays.items()}

    return dataclasses.replace(
        golden,
        members=golden.members[rows],
        outputs=some(golden.outputs),
        eager=some(golden.eager),
        noise=some(golden.noise),
    )
