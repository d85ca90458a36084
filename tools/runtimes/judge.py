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
        row = _logits(strange, cond_id)[SANE_ROW]
        gave[spelled] = "NaN" if np.isnan(row).all() else _member(stage, row)
    if set(gave.values()) == {"NaN"}:
        return "NaN"
    groups = {what: [key for key, value in gave.items() if value == what] for what in gave.values()}
    return "; ".join(f"{', '.join(keys)}: {what}" for what, keys in groups.items())


def of_nan_image(strange: Path) -> str:
    """What an image with one NaN gave."""
    row = _logits(strange, 0)[NAN_ROW]
    return "NaN" if np.isnan(row).all() else "some NaN" if np.isnan(row).any() else "numbers"


def _logits(folder: Path, cond_id: int) -> NDArray[np.float32]:
    path = folder / f"member-{cond_id}" / "logits.npy"
    if path.exists():
        return np.asarray(np.load(path), np.float32)
    return np.fromfile(path.with_suffix(".raw"), np.float32).reshape(2, -1)


def _member(stage: Stage, row: NDArray[np.float32]) -> str:
    golden = read_golden(stage.bundle)
    for member, logits in zip(golden.members.tolist(), golden.outputs["logits"], strict=True):
        if float(relative_l2(row[np.newaxis], logits[SANE_ROW : SANE_ROW + 1]).max()) < SAME:
            return f"member {member}"
    return "numbers"
