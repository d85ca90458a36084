"""What `verify`, `build` and `locate` found: tables, and one closing sentence."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hnexport.cli.render import Column, Styled, Table, accomplished, print_json, say, show_table, tell
from hnexport.text import number_of

if TYPE_CHECKING:
    from hnexport.parity.locate import LocateReport
    from hnexport.parity.results import ArtifactReport, Comparison, ParityReport
    from hnexport.parity.tolerances import Tolerance

__all__ = ["print_locate", "print_member_parity", "print_parity", "print_unpublished"]

SHOWN_MEMBERS = 32


def print_parity(report: "ParityReport", *, wide: bool = False, bundle: str = "", file: str = "") -> None:
    """The parity table, what failed, what was not run, and the verdict in words.

    Args:
        bundle: the path that was given, for the command to type next; empty where there is no such bundle.
        file: the model file that was compared, where it is one.
    """
    from hnexport.cli.render_outputs import print_outputs
    from hnexport.parity.not_run import grouped, remarks

    title = (
        f"parity with PyTorch float64: {_members(report)}, batches of {', '.join(map(str, report.batch_sizes))}, "
        f"{len(report.image_kinds)} kinds of {_word(report)}"
    )
    columns = (
        Column("artifact", wrap=True, least=20),
        Column("runtime", wrap=True, least=12),
        Column("members", right=True),  # how many
        Column(f"rel. L2\n≤{report.tolerance.relative_l2:.0e}", right=True),
        Column("worst\nmember", right=True, rank=2),
        Column(_eager_title(report), right=True, rank=1),
        Column("worst\n|Δ|", right=True, rank=3),
        Column("top-1", right=True, rank=4),
        Column("margin", right=True, rank=5),
        Column("ensemble", right=True, rank=6),
        Column("repeat", right=True, rank=7),
        Column("verdict"),
    )
    show_table(Table(title=title, columns=columns, rows=[_row(artifact) for artifact in report.artifacts]), wide=wide)
    print_outputs(report, wide=wide)
    for remark in _samples(report):
        say(remark)
    for remark in remarks(report.not_run):
        say(f"not run: {remark}")
    for remark in grouped(report.refused):
        say(f"not run: {remark}")
    for remark in grouped(
        {f"{a.artifact}: {name}": why for a in report.artifacts for name, why in a.not_checked.items()}
    ):
        say(f"not checked: {remark}")
    for artifact in report.artifacts:
        for line in artifact.failures:
            say(f"FAILED {artifact.artifact}: {line}")
    for claim in report.claims:
        if not claim.passed:
            say(f"FAILED {claim.name}: {claim.detail}")
    say(_verdict(report, bundle, file))


def _samples(report: "ParityReport") -> tuple[str, ...]:
    """In what range inputs were probed, what was left out, and what float32 itself cannot compute well."""
    ranges = ", ".join(f"{name} from {least:.3g} to {most:.3g}" for name, (least, most) in report.ranges.items())
    ill = ", ".join(f"{place} ({noise:.0e})" for place, noise in report.ill_conditioned.items())
    lines = {
        f"probed: {ranges}": ranges,
        f"left out, the reference or the precision cannot compute it: {', '.join(report.left_out)}": report.left_out,
        f"ill-conditioned, judged by what float32 itself may lose there: {ill}": ill,
        f"members drawn with --seed {report.seed}": report.seed is not None,
    }
    return tuple(line for line, is_said in lines.items() if is_said)


def _word(report: "ParityReport") -> str:
    """What a sample is called: an image, where the only input is one."""
    return "image" if set(report.ranges) <= {"image"} else "sample"


def _row(artifact: "ArtifactReport") -> tuple[str | Styled, ...]:
    worst, compared = artifact.worst, artifact.comparisons
    return (
        artifact.artifact,
        artifact.runtime,
        str(len(compared)),
        f"{worst.relative_l2:.1e}",
        str(worst.member),
        f"{max(item.multiple_of_eager for item in compared):.2f}",
        f"{worst.worst_absolute:.1e}",
        f"{min(item.top1_agreement for item in compared):.0%}",
        f"{min(item.margin for item in compared):.0e}",
        f"{artifact.ensemble_error:.1e}",
        "-" if math.isnan(artifact.repeat_spread) else f"{artifact.repeat_spread:.0e}",
        Styled("same", "green") if artifact.passed else Styled("DIFFERENT", "bold red"),
    )


def _eager_title(report: "ParityReport") -> str:
    limit = report.tolerance.multiple_of_eager
    return f"x eager\n≤{limit:g}" if math.isfinite(limit) else "x eager"


def _members(report: "ParityReport") -> str:
    """`10 members`, `32 of 1000 members (a seeded sample)`, `2 of 10 members (as named)`."""
    count = len(report.members_checked)
    if report.selection == "all":
        return number_of(count, "member")
    how = "a seeded sample" if report.sampled else "as named"
    return f"{count} of {report.members} members ({how})"


def _verdict(report: "ParityReport", bundle: str, file: str) -> str:
    """One sentence, and what to type next."""
    limit = report.tolerance.relative_l2
    if report.verdict == "different":
        return _difference(report, bundle, file)
    worst = max((artifact.worst.relative_l2 for artifact in report.artifacts), default=math.nan)
    count = len(report.artifacts)
    agree = (
        f"{_members(report)} in {number_of(count, 'artifact')} agree{'s' * (len(report.members_checked) == 1)} "
        f"with PyTorch in float64; the worst error is {worst:.1e}, the limit {limit:.0e}."
    )
    if report.verdict == "same":
        return f"Same: {agree}"
    if not report.artifacts:
        return "Unanswered: nothing could be compared."
    if report.refused:
        return f"Unanswered: {', '.join(report.refused)} could not be compared. What was: {agree}"
    return (
        f"Unanswered: {', '.join(report.unjudged)} cannot be judged, since the bundle says that float32 may lose "
        f"{max(report.unjudged.values()):.0e} of it, and its network is not known to measure that again. What was: "
        f"{agree}"
    )


def _beyond(item: "Comparison", tolerance: "Tolerance") -> str:
    """Which limit a member is beyond: an error within its own may still be too many times float32 eager's."""
    if item.reason:
        return item.reason
    if item.relative_l2 <= tolerance.relative_l2:
        times, limit = item.multiple_of_eager, tolerance.multiple_of_eager
        return f"error {item.relative_l2:.1e}, {times:.1f} times what float32 eager loses, the limit {limit:g}"
    return f"error {item.relative_l2:.1e}, the limit {tolerance.relative_l2:.0e}"


def _difference(report: "ParityReport", bundle: str, file: str) -> str:
    """What differs first, and how to find where it begins."""
    from hnexport.parity.checks import UNKNOWN_IDS
    from hnexport.parity.foreign_outputs import ARTIFACT as OUTPUTS
    from hnexport.parity.locate import ARTIFACT_FILES as LOCATED
    from hnexport.parity.signature_report import OWN_SIGNATURE

    failed = [artifact for artifact in report.artifacts if not artifact.passed]
    if not failed:
        claim = next(claim for claim in report.claims if not claim.passed)
        return f"Different: the bundle is not what it says of itself ({claim.name}: {claim.detail})."
    first = failed[0]
    name, where = first.artifact, shlex.quote(bundle)
    signature = next((check for check in first.checks if check.name == OWN_SIGNATURE and not check.passed), None)
    departs = [item for item in first.comparisons if not item.passed]
    if signature is not None:
        what = f"{name} has another signature than its bundle says ({signature.detail})"
    elif departs:
        worst = max(departs, key=lambda item: item.relative_l2)
        of = number_of(len(first.comparisons), "member")
        what = (
            f"{name} departs from PyTorch for {len(departs)} of {of}, most for member {worst.member} "
            f"({_beyond(worst, report.tolerance)})"
        )
    else:
        check = next(check for check in first.checks if not check.passed)
        what = f"{name} fails a check ({check.name})"
    more = len(failed) - 1
    others = "" if not more else f"; {more} more {'artifact differs' if more == 1 else 'artifacts differ'}"
    if not bundle or name == OUTPUTS:
        return f"Different: {what}{others}."
    located = next((artifact.artifact for artifact in failed if artifact.artifact in LOCATED), None)
    if signature is not None:
        return f"Different: {what}{others}."
    if file and departs and first.checks and all(check.name != UNKNOWN_IDS for check in first.checks):
        return f"Different: {what}{others}."  # one member by itself, which locate does not take
    if departs and (file or located):
        target = shlex.quote(file) if file else located
        return f"Different: {what}{others}. To see where it begins: hnexport locate {where} --against {target}"
    again = f"hnexport verify {where} --runtimes {name} --save-failure failures"
    return f"Different: {what}{others}. To keep the failing cases: {again}"


def print_member_parity(report: "ParityReport", *, wide: bool = False) -> None:
    """The relative L2 error of every member: the worst of all artifacts, and each where there is room."""
    if not report.artifacts:
        return
    found = [{item.member: item.relative_l2 for item in artifact.comparisons} for artifact in report.artifacts]
    names = [artifact.artifact for artifact in report.artifacts]
    rows = []
    for member, eager in zip(report.members_checked, report.eager, strict=True):
        errors = [column[member] for column in found]
        worst = max(range(len(errors)), key=errors.__getitem__)
        cells = (str(member), f"{eager:.1e}", f"{errors[worst]:.1e}", names[worst], *(f"{one:.1e}" for one in errors))
        rows.append((errors[worst], cells))
    title = "relative L2 error by member"
    if len(rows) > SHOWN_MEMBERS and not wide:
        rows = sorted(rows, key=lambda row: row[0], reverse=True)[:SHOWN_MEMBERS]
        title += f": the {SHOWN_MEMBERS} with the largest of {len(report.members_checked)} (all: --wide)"
    several = len(names) > 1
    columns = (
        Column("member", right=True),
        Column("float32\neager", right=True),
        *((Column("worst", right=True), Column("in", wrap=True, least=20)) if several else ()),
        *(Column(name.replace("-", "-\n"), right=True, rank=i * several) for i, name in enumerate(names, start=1)),
    )
    shown = [row if several else (*row[:2], *row[4:]) for _, row in rows]
    show_table(Table(title=title, columns=columns, rows=shown), wide=wide)


def print_locate(report: "LocateReport", *, show_all: bool, wide: bool = False) -> None:
    """A table of the comparisons that depart (or of all), and one line with the answer."""
    from hnexport.parity.locate import PYTORCH

    shown = [step for step in report.steps if show_all or not step.passed]
    if report.reference != PYTORCH:
        say(f"reference: {report.reference}")
    if shown:
        rows = [
            (
                step.kind.value,
                step.place,
                step.detail,
                "" if math.isnan(step.error) else f"{step.error:.1e}",
                "same" if step.passed else Styled("DEPARTS", "bold red"),
            )
            for step in shown
        ]
        columns = (
            Column("compared", wrap=True),
            Column("place", wrap=True, least=22),
            Column("what", wrap=True),
            Column("error", right=True),
            Column(""),
        )
        title = f"{report.against} against {report.reference}, member {report.member}"
        show_table(Table(title=title, columns=columns, rows=rows), wide=wide)
    if report.first is None:
        say(f"{report.against}: nothing departs, {len(report.steps)} comparisons")
        return
    reason = f": {report.first.detail}" if report.first.detail else ""
    say(f"first departure, in {report.stage}: {report.first.kind.value} {report.first.place}{reason}")


def print_unpublished(report: "ParityReport", target: Path, *, as_json: bool, wide: bool) -> None:
    """What parity found where something differs, so that nothing stands at the target."""
    from hnexport.parity.report import report_json

    with accomplished(f"nothing was published at {target}"):
        if as_json:
            print_json(report_json(report))
        else:
            print_parity(report, wide=wide)
    tell("nothing was published")
