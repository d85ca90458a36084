"""What a runtime made of the two folders, in the words of the table."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import read_golden
from hnexport.parity import verify_outputs
from hnexport.rows import relative_l2
from runtimes.stage import NAN_ROW, SANE_ROW, SPELLED, UNKNOWN, Stage

LIMIT = 1e-5
SAME = 1e-3  # of a member's logits: another member's are far away


def largest_error(stage: Stage, golden: Path) -> float:
    """Of every sample of every member, relative L2, as `hnexport verify --outputs` finds it.

    Raises:
        ParityError: a member's outputs are missing or cannot be read.
    """
    report = verify_outputs(golden, stage.bundle)
    for why in report.refused.values():
        raise ValueError(why)
    return max(artifact.worst.relative_l2 for artifact in report.artifacts)


def of_unknown_ids(stage: Stage, strange: Path) -> str:
    """What each id that does not exist gave."""
    gave = {}
    for cond_id, spelled in zip(UNKNOWN, SPELLED, strict=True):
        logits = _logits(strange, cond_id)
        gave[spelled] = "refused" if logits is None else _said(stage, logits[SANE_ROW])
    if len(set(gave.values())) == 1:
        return gave[SPELLED[0]]
    groups = {what: [key for key, value in gave.items() if value == what] for what in gave.values()}
    return "; ".join(f"{', '.join(keys)}: {what}" for what, keys in groups.items())


def of_nan_image(strange: Path) -> str:
    """What an image with one NaN gave."""
    logits = _logits(strange, 0)
    if logits is None:
        raise ValueError("there is no output for member 0")
    row = logits[NAN_ROW]
    return "NaN" if np.isnan(row).all() else "some NaN" if np.isnan(row).any() else "numbers"


def _logits(folder: Path, cond_id: int) -> NDArray[np.float32] | None:
    path = folder / f"member-{cond_id}" / "logits.npy"
    if path.exists():
        return np.asarray(np.load(path), np.float32)
    raw = path.with_suffix(".raw")
    return np.fromfile(raw, np.float32).reshape(2, -1) if raw.exists() else None


def _said(stage: Stage, row: NDArray[np.float32]) -> str:
    if np.isnan(row).all():
        return "NaN"
    golden = read_golden(stage.bundle)
    for member, logits in zip(golden.members.tolist(), golden.outputs["logits"], strict=True):
        if float(relative_l2(row[np.newaxis], logits[SANE_ROW : SANE_ROW + 1]).max()) < SAME:
            return f"member {member}"
    return "numbers"
