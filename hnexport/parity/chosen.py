"""The golden samples of the members that somebody asks for, whether a bundle holds them or not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Manifest
from hnexport.parity.reference import checked_members, compute_golden
from hnexport.parity.trusted import trusted_tensors
from hnexport.progress import Progress, no_progress
from hnexport.trust import NOBODY, Trust

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
    return Golden(
        images=first.images,
        kinds=first.kinds,
        members=np.concatenate([first.members, second.members]),
        logits=np.concatenate([first.logits, second.logits]),
        eager=np.concatenate([first.eager, second.eager]),
        fingerprints=first.fingerprints,
    )


def golden_rows(golden: Golden, rows: Sequence[int]) -> Golden:
    """Some of the members, by their positions."""
    return Golden(
        images=golden.images,
        kinds=golden.kinds,
        members=golden.members[rows],
        logits=golden.logits[rows],
        eager=golden.eager[rows],
        fingerprints=golden.fingerprints,
    )
