"""The golden samples of the members that somebody asks for, whether a bundle holds them or not."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest
from hnexport.confine.trust import NOBODY, Trust
from hnexport.ensemble import Ensemble
from hnexport.errors import BundleError, ParityError
from hnexport.parity.cost import estimated_seconds
from hnexport.parity.expected import known_ensemble
from hnexport.parity.members import checked_members, drawn_members
from hnexport.parity.reference import compute_golden
from hnexport.parity.trusted import trusted_tensors
from hnexport.progress import Progress, no_progress
from hnexport.spelling import spelled

Array = NDArray[Any]

__all__ = ["FRESH_SECONDS", "chosen_golden", "drawn_golden", "golden_rows", "held_ensemble"]

FRESH_SECONDS = 10.0
"""About what the reference of members that a verification draws, and the golden samples do not hold, may take: by an
estimate that is the same on every machine."""


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
        ParityError: a member does not exist, or is not held and its reference cannot be computed.
    """
    golden = read_golden(bundle, manifest)
    if members is None:
        return golden
    chosen = checked_members(manifest.members, members)
    held = golden.members.tolist()
    missing = [member for member in chosen if member not in held]
    if missing:
        ensemble = known_ensemble(manifest, trusted_tensors(bundle, manifest, golden.fingerprints, trust))
        if ensemble is None:
            raise ParityError(
                f"the golden samples hold no member {missing[0]}, and a bundle of the family {manifest.source.family} "
                f"does not hold its network: choose among {_listed(held)}, or build with "
                + spelled(f"members=({missing[0]},)", f"--verify-members {missing[0]}")
            )
        golden = with_members(golden, ensemble, missing, progress)
    rows = [golden.members.tolist().index(member) for member in chosen]
    return golden_rows(golden, rows)


def drawn_golden(
    bundle: Path, manifest: Manifest, seed: int, trust: Trust = NOBODY, progress: Progress = no_progress
) -> Golden:
    """The golden samples of members that are drawn anew; as many as `FRESH_SECONDS` allow may be computed for that.

    Raises:
        BundleError: they cannot be read.
    """
    golden = read_golden(bundle, manifest)
    held = golden.members.tolist()
    ensemble, fresh = None, 0
    if any(member not in held for member in drawn_members(manifest.members, seed, held, manifest.members)):
        ensemble = held_ensemble(bundle, manifest, golden, trust)
        if ensemble is not None:
            fresh = max(2, int(FRESH_SECONDS / (2 * estimated_seconds(ensemble, 0, golden.inputs))))
    chosen = drawn_members(manifest.members, seed, held, fresh)
    missing = [member for member in chosen if member not in held]
    if missing and ensemble is not None:
        golden = with_members(golden, ensemble, missing, progress)
    rows = [golden.members.tolist().index(member) for member in chosen]
    return golden if rows == list(range(len(golden.members))) else golden_rows(golden, rows)


def held_ensemble(bundle: Path, manifest: Manifest, golden: Golden, trust: Trust) -> Ensemble | None:
    """The ensemble where it is known; None too where its tensors cannot be had, which is found elsewhere."""
    try:
        return known_ensemble(manifest, trusted_tensors(bundle, manifest, golden.fingerprints, trust))
    except (BundleError, ParityError):
        return None


def with_members(golden: Golden, ensemble: Ensemble, members: Sequence[int], progress: Progress) -> Golden:
    """The golden samples with those of more members.

    Raises:
        ParityError: the reference of one is not finite.
    """
    computed = compute_golden(ensemble, members, golden.inputs, golden.kinds, progress=progress, every=True)
    if computed.kinds != golden.kinds:
        lost = next(kind for kind in golden.kinds if kind not in computed.kinds)
        raise ParityError(f"PyTorch's own outputs of the sample {lost} are not finite for one of {_listed(members)}")
    return _joined(golden, computed)


def _listed(members: Sequence[int]) -> str:
    return ", ".join(map(str, members[:8])) + (" …" if len(members) > 8 else "")


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
