"""Whether what an ensemble says of several members together follows from what it says of each."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.parity.results import Check
from hnexport.spec import OutputSpec, Signature
from hnexport.spec.summaries import Summary, SummaryKind, summaries

__all__ = ["LOGITS_CHECK", "VALUES_CHECK", "check_summary", "member_axis", "summarise"]

Array = NDArray[np.generic]
Floats = NDArray[np.float64]

LOGITS_CHECK = "mean probabilities and entropies follow from the logits"
VALUES_CHECK = "means and variances follow from the members' values"

# Sums of a few hundred float32 terms of size 1, with margin; entropies are at most log(classes).
SUMMARY_TOLERANCE = 1e-5

# float16 rounds logits of up to 32 by 2^-7 = 8e-3; probabilities move by as much, entropies by a few times that.
SUMMARY_TOLERANCE_FLOAT16 = 5e-2

# Of the largest of the members' values: a sum of a few hundred float32 terms, with margin.
_MEAN, _MEAN_FLOAT16 = 1e-6, 2e-3


def summarise(logits: Floats, axis: int = -1) -> dict[SummaryKind, Floats]:
    """Mean probabilities, predictive entropy and mutual information in float64.

    Written from the definitions, `H[q]` and `H[q] - mean_m H[p_m]`, unlike what it checks.

    Args:
        logits: `[member, …]`, classes along `axis`.
    """
    p = np.exp(logits - logits.max(axis=axis, keepdims=True))
    p /= p.sum(axis=axis, keepdims=True)
    q = p.mean(axis=0, keepdims=True)
    entropy = _entropy(q, axis)[0]
    return {
        SummaryKind.MEAN_PROBABILITIES: q[0],
        SummaryKind.PREDICTIVE_ENTROPY: entropy,
        SummaryKind.MUTUAL_INFORMATION: entropy - _entropy(p, axis).mean(axis=0),
    }


def _entropy(p: Floats, axis: int) -> Floats:
    return np.asarray(-(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=axis))


def member_axis(summary: Summary) -> int:
    """How many axes stand before the batch."""
    return 1 if summary.kind is SummaryKind.MEMBERS else 0


def check_summary(signature: Signature, found: Sequence[Mapping[str, Array]]) -> list[Check]:
    """The artifact's own outputs of each member, summarised in float64: only the summary's arithmetic can differ.

    Args:
        found: the outputs of several calls, each by the names of `hnexport.spec.summaries`.
    """
    worst: dict[str, float] = {}
    shapes: dict[str, str] = {}
    for output in (output for output in signature.outputs if output.is_floating):
        for item in (item for item in summaries(signature) if item.of == output.name):
            if item.kind is SummaryKind.MEMBERS:
                continue
            name = VALUES_CHECK if item.kind in (SummaryKind.MEAN, SummaryKind.VARIANCE) else LOGITS_CHECK
            worst.setdefault(name, 0.0)
            for one in found:
                share, shape = _share(output, item, one)
                worst[name] = max(worst[name], share)
                if shape:
                    shapes[name] = f"found {item.name} of shape {shape}"
    return [
        Check(name=name, passed=share <= 1.0, detail=shapes.get(name, f"{share:.1e} of what rounding may change"))
        for name, share in worst.items()
    ]


def _share(output: OutputSpec, item: Summary, found: Mapping[str, Array]) -> tuple[float, str]:
    """The largest difference of an element as a share of what is allowed, and a shape that is wrong."""
    members = np.asarray(found[f"member_{output.name}"])
    value = np.asarray(found[item.name])
    expected, allowed = (np.asarray(one) for one in _expected(output, item.kind, members))
    if value.shape != expected.shape:
        return np.inf, str(list(value.shape))
    if not np.isfinite(members).all():  # those are looked at one by one
        return 0.0, ""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(value.astype(np.float64) - expected)
        overflows = value == expected.astype(value.dtype)  # float32 has no number so large
        share = np.max(np.where(overflows, 0.0, difference / allowed), initial=0.0)
    return float(share) if np.isfinite(share) else np.inf, ""


def _expected(output: OutputSpec, kind: SummaryKind, members: Array) -> tuple[Floats, Floats | float]:
    """What follows from the members' values, and what each element may be off by."""
    wide, is_half = members.astype(np.float64), members.dtype == np.float16
    if kind not in (SummaryKind.MEAN, SummaryKind.VARIANCE):
        found = summarise(wide, (output.axis or 0) + 1)[kind]
        return found, SUMMARY_TOLERANCE_FLOAT16 if is_half else SUMMARY_TOLERANCE
    lost = (_MEAN_FLOAT16 if is_half else _MEAN) * np.abs(wide).max(axis=0)
    tiny = float(np.finfo(np.float32).tiny)
    if kind is SummaryKind.MEAN:
        return wide.mean(axis=0), lost + tiny
    variance = wide.var(axis=0)
    return variance, 2 * lost * np.sqrt(variance) + lost**2 + SUMMARY_TOLERANCE * variance + tiny
