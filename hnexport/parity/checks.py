"""Properties that every artifact must have, whatever its logits are worth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import HnexportError
from hnexport.parity.batches import filled, run_member
from hnexport.parity.compare import spread
from hnexport.parity.results import Check
from hnexport.parity.runners import Placed, Runner
from hnexport.parity.tolerances import TF32_SHOWS, Tolerance
from hnexport.rows import relative_l2

__all__ = [
    "SAME_ROW",
    "SPOILT_ROW",
    "UNKNOWN_IDS",
    "check_members_differ",
    "check_placement",
    "check_spoilt_row",
    "check_strict",
    "check_unknown_ids",
    "row_spread",
    "unknown_ids",
]

Array = NDArray[np.generic]


SPOILT_ROW = "a NaN or infinite image spoils its own row only"
SAME_ROW = "a row does not depend on the others"


def check_spoilt_row(runner: Runner, golden: Golden, tolerance: Tolerance) -> Check:
    """A NaN image makes its own row NaN; neither NaN nor infinity touches another row, where a batch has others."""
    name = SPOILT_ROW
    if not np.issubdtype(golden.images.dtype, np.floating):
        return Check(name=name, passed=True, detail="the graph takes integers, which are always finite")
    member, given = int(golden.members[0]), filled(golden.images[:3], runner.limits)
    clean = run_member("the artifact", runner, member, given)
    if len(clean) != len(given):
        return Check(name=name, passed=False, detail=f"{len(given)} images get {len(clean)} rows of logits")
    spoilt = min(1, len(given) - 1)
    others = [row for row in range(len(given)) if row != spoilt]
    for value in (np.nan, np.inf, -np.inf):
        images = given.copy()
        images[spoilt].reshape(-1)[:: 1 if np.isnan(value) else 7] = value
        logits = run_member("the artifact", runner, member, images)
        difference = np.linalg.norm(logits[others].astype(np.float64) - clean[others].astype(np.float64), axis=-1)
        allowed = 10 * tolerance.row_spread * np.linalg.norm(clean[others].astype(np.float64), axis=-1)
        if not (difference <= allowed).all():
            return Check(name=name, passed=False, detail=f"{value} in one image changes the logits of others")
        if np.isnan(value) and runner.limits.keeps_nan and not np.isnan(logits[spoilt]).all():
            return Check(name=name, passed=False, detail="a NaN image gets logits that are numbers")
    known = "" if runner.limits.keeps_nan else "; this runtime gives a NaN image logits that are numbers"
    return Check(name=name, passed=True, detail=f"other rows stay as they are{known}")


def unknown_ids(members: int, bits: int = 64) -> tuple[int, ...]:
    """Condition ids that no ensemble of this size has, as far as a runtime tells them apart."""
    return (-1, members, 2**31 - 1, *((2**32, 2**63 - 1, -(2**63)) if bits == 64 else ()))  # 2**32 cut to 32 bits is 0


def check_strict(worst: float) -> Check:
    """On an accelerator the error itself says whether TF32 was used, whatever the settings say."""
    passed = worst < TF32_SHOWS
    detail = f"the largest error is {worst:.1e}, " + ("as of float32" if passed else "as of TF32: it seems to be on")
    return Check(name="float32 is strict", passed=passed, detail=detail)


UNKNOWN_IDS = "ids that do not exist give NaN"


def check_unknown_ids(runner: Runner, members: int, image: Array) -> Check:
    """Condition ids that do not exist give NaN logits only."""
    name, ids = UNKNOWN_IDS, unknown_ids(members, runner.limits.id_bits)
    image = filled(image, runner.limits)
    for cond_id in ids:
        try:
            logits = np.asarray(runner.run(cond_id, {"image": image})["logits"])
        except HnexportError:
            raise
        except Exception:  # a runtime's own error; CUDA would have read out of bounds instead
            detail = f"cond_id {cond_id} raises an error here, on an accelerator it would return garbage"
            return Check(name=name, passed=False, detail=detail)
        if not np.isnan(logits).all():
            return Check(name=name, passed=False, detail=f"cond_id {cond_id} returned numbers")
    cut = "" if runner.limits.id_bits == 64 else "; this runtime cuts ids to 32 bits, so its loader must check them"
    return Check(name=name, passed=True, detail=f"checked {', '.join(map(str, ids))}{cut}")


def check_members_differ(found: Array, reference: NDArray[np.float64], tolerance: Tolerance) -> Check:
    """The artifact's members are as far apart as the reference's (a baked-in condition makes them equal).

    Args:
        found: logits `[member, class]` of one image.
        reference: likewise.
    """
    expected, actual = spread(reference), spread(found)
    if expected == 0:
        detail = f"the reference's members are all the same; these are {actual:.1e} apart"
        return Check(name="members differ as the reference's do", passed=actual == 0, detail=detail)
    ratio = actual / expected
    equal = ratio < 1e-6
    detail = f"their spread is {ratio:.6f} of the reference's" + ("; the condition seems baked in" if equal else "")
    passed = bool(abs(ratio - 1.0) < tolerance.members)
    return Check(name="members differ as the reference's do", passed=passed, detail=detail)


def check_placement(runner: Placed, images: Array) -> Check | None:
    """Every layer ran on the provider that was asked for; None where it could not have run elsewhere."""
    found = runner.placement({"image": images})
    if found is None:
        return None
    counts = ", ".join(f"{count} nodes on {name}" for name, count in found.nodes.items())
    elsewhere = f"; {', '.join(found.layers_elsewhere)} fell back" if found.layers_elsewhere else ""
    name = "every layer ran on the provider that was asked for"
    return Check(name=name, passed=not found.layers_elsewhere, detail=counts + elsewhere)


def row_spread(batches: Sequence[Sequence[int]], rows: Sequence[Array], reference: NDArray[np.float64]) -> float:
    """The largest relative L2 difference between two logits of one image in different batches."""
    seen: dict[int, Array] = {}
    worst = 0.0
    for batch, logits in zip(batches, rows, strict=True):
        for image, row in zip(batch, logits, strict=True):
            other = seen.setdefault(image, row)
            difference = row.astype(np.float64) - other.astype(np.float64)
            worst = max(worst, float(relative_l2(reference[image] + difference, reference[image])))
    return worst
