"""What a bundle says of its own parity: `parity.json` and the manifest's summary, against each other and what is found.

Whoever tampers with a bundle can write any figure into it. The figures have to agree with each other, and errors that
are found now must not be far above what is claimed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Manifest
from hnexport.names import PARITY_FILE
from hnexport.parity.judge import VerifyOptions
from hnexport.parity.results import ArtifactReport, Check
from hnexport.parity.tolerances import EAGER_FLOOR, TOLERANCES, Precision
from hnexport.reading import ReadError, read_json, shown
from hnexport.rows import LARGEST_NOISE
from hnexport.text import number_of

__all__ = ["AGREE", "CONFIRMED", "check_claims"]

AGREE = "parity.json says what the manifest says"
CONFIRMED = "what is claimed of its parity is what is found"
MAX_PARITY_BYTES = 256 * 2**20
FACTOR = 10.0
"""Another processor sums in another order: an error found may be so many times the one that is claimed."""


def check_claims(
    bundle: Path, manifest: Manifest, reports: Sequence[ArtifactReport], golden: Golden, options: VerifyOptions
) -> tuple[Check, ...]:
    """Both checks; none for a bundle that claims nothing, as one that is being built."""
    if not manifest.parity and PARITY_FILE not in manifest.files:
        return ()
    try:
        claimed = _claimed(bundle, manifest)
        _check_agreement(claimed, manifest)
    except _WrongError as error:
        return (Check(name=AGREE, passed=False, detail=f"{error}; build the bundle again"),)
    agree = Check(name=AGREE, passed=True, detail=f"{len(claimed)} artifacts")
    if options.precision is not Precision.FLOAT32 or options.device().provider != "cpu":
        return (agree,)
    return (agree, _confirmed(claimed, reports, golden))


class _WrongError(Exception):
    """What does not agree."""


Claims = Mapping[str, Mapping[int, Mapping[str, float]]]


def _claimed(bundle: Path, manifest: Manifest) -> dict[str, dict[int, dict[str, float]]]:
    """The figures of `parity.json` by artifact and member."""
    if PARITY_FILE not in manifest.files:
        raise _WrongError(f"the manifest claims parity, and the bundle has no {PARITY_FILE}")
    try:
        value = read_json(bundle / PARITY_FILE, MAX_PARITY_BYTES)
    except ReadError as error:
        raise _WrongError(f"{PARITY_FILE} cannot be read: {error}") from error
    if not isinstance(value, dict) or value.get("schema") != "hnexport-parity" or value.get("passed") is not True:
        raise _WrongError(f"{PARITY_FILE} is not the report of a bundle that passed")
    try:
        found = {artifact["artifact"]: _members(artifact) for artifact in value["artifacts"]}
    except (KeyError, TypeError, ValueError) as error:
        raise _WrongError(f"{PARITY_FILE} is not a report: {type(error).__name__} {shown(str(error))}") from error
    if not found:
        raise _WrongError(f"{PARITY_FILE} names no artifact")
    return found


def _members(artifact: Mapping[str, Any]) -> dict[int, dict[str, float]]:
    names = ("relative_l2", "multiple_of_eager")
    return {int(item["member"]): {name: float(item[name]) for name in names} for item in artifact["comparisons"]}


def _check_agreement(claimed: Claims, manifest: Manifest) -> None:
    """The manifest's summary is that of the report, and within the tolerance of a build."""
    if set(claimed) != set(manifest.parity):
        lost = min(set(claimed) ^ set(manifest.parity))
        raise _WrongError(f"{shown(lost)} stands in {PARITY_FILE} or in the manifest alone")
    tolerance = TOLERANCES[Precision.FLOAT32]
    for name, members in claimed.items():
        summary = manifest.parity[name]
        if not members or not all(0 <= member < manifest.members for member in members):
            raise _WrongError(f"{name}: {PARITY_FILE} names members that do not exist, or none")
        for figure in ("relative_l2", "multiple_of_eager"):
            worst = max(item[figure] for item in members.values())
            if getattr(summary, figure) != worst:
                told = f"{worst:.3g} in {PARITY_FILE} and {getattr(summary, figure):.3g} in the manifest"
                raise _WrongError(f"{name}: {figure} is {told}")
        if summary.members_checked != len(members):
            raise _WrongError(
                f"{name}: {PARITY_FILE} has {len(members)} members, the manifest {summary.members_checked}"
            )
        if not 0 <= summary.multiple_of_eager <= tolerance.multiple_of_eager:
            raise _WrongError(f"{name}: {summary.multiple_of_eager:.3g} times eager's error is no figure that passes")


def _confirmed(claimed: Claims, reports: Sequence[ArtifactReport], golden: Golden) -> Check:
    """No error that is found is far above the one that is claimed, beyond what float32 may lose on those samples."""
    may_lose = {
        member: max(float(noise[row].max()) for name, noise in golden.noise.items() if name in golden.eager)
        for row, member in enumerate(golden.members.tolist())
    }
    compared = 0
    for report in reports:
        for item in report.comparisons:
            known = claimed.get(report.artifact, {}).get(item.member)
            if known is None or not item.passed:  # that it differs is said already
                continue
            compared += 1
            lost = max(may_lose[item.member], EAGER_FLOOR)
            if item.relative_l2 > FACTOR * known["relative_l2"] and lost < LARGEST_NOISE and item.relative_l2 > lost:
                detail = (
                    f"{report.artifact}, member {item.member}: an error of {item.relative_l2:.1e} is found, "
                    f"{known['relative_l2']:.1e} is claimed; build the bundle again"
                )
                return Check(name=CONFIRMED, passed=False, detail=detail)
    detail = f"{number_of(compared, 'member')} of {number_of(len(reports), 'artifact')}"
    return Check(name=CONFIRMED, passed=True, detail=detail)
