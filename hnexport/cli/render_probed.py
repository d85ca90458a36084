"""What `verify` and `build` say beside the parity table: outputs one by one, what was probed, and with which seed."""

from typing import TYPE_CHECKING, Any

from hnexport.cli.render import Column, Styled, Table, say, show_table

if TYPE_CHECKING:
    from hnexport.parity.results import Check, ParityReport

__all__ = ["failed_claims", "print_outputs", "print_probed", "sample_word"]

_SHOWN = 6  # ill-conditioned kinds of sample; --json has all


def print_outputs(report: "ParityReport", *, wide: bool = False) -> None:
    """A row for each artifact and output, where the network has several outputs."""
    rows = []
    for artifact in report.artifacts:
        found = [(item.member, output) for item in artifact.comparisons for output in _of(item, "outputs", ())]
        names = dict.fromkeys(output.output for _, output in found)
        if len(names) < 2:
            continue
        for name in names:
            own = [(member, output) for member, output in found if output.output == name]
            member, worst = max(own, key=lambda pair: pair[1].relative_l2)
            passed = all(output.passed for _, output in own)
            agreement = min((one.top1_agreement for _, one in own if one.top1_agreement is not None), default=None)
            rows.append(
                (
                    artifact.artifact,
                    name,
                    f"{worst.relative_l2:.1e}",
                    str(member),
                    f"{max(output.multiple_of_eager for _, output in own):.2f}",
                    f"{max(output.worst_absolute for _, output in own):.1e}",
                    "-" if agreement is None else f"{agreement:.0%}",
                    Styled("same", "green") if passed else Styled("DIFFERENT", "bold red"),
                )
            )
    if not rows:
        return
    columns = (
        Column("artifact", wrap=True, least=20),
        Column("output", wrap=True),
        Column("rel. L2", right=True),
        Column("worst\nmember", right=True, rank=2),
        Column("x eager", right=True, rank=1),
        Column("worst\n|Δ|", right=True, rank=3),
        Column("top-1", right=True, rank=4),
        Column("verdict"),
    )
    show_table(Table(title="by output", columns=columns, rows=rows), wide=wide)


def print_probed(report: "ParityReport") -> None:
    """The range of each input, what float32 itself cannot compute well, what was left out, and the seed of members."""
    ranges, left_out, seed = _of(report, "ranges", {}), _of(report, "left_out", ()), _of(report, "seed", None)
    if ranges:
        found = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in ranges.items())
        say(f"probed: {found}")
    worst = sorted(_of(report, "ill_conditioned", {}).items(), key=lambda pair: -pair[1])
    for name, noise in worst[:_SHOWN]:
        say(f"ill-conditioned: {name}, float32 itself may lose {noise:.1e} there; judged by that")
    if len(worst) > _SHOWN:
        say(f"ill-conditioned: {len(worst) - _SHOWN} more (--json)")
    if left_out:
        say(f"not probed, since PyTorch in float64 has no finite answer: {', '.join(left_out)}")
    if seed is not None:
        say(f"members drawn with --seed {seed}")
    for claim in failed_claims(report):
        say(f"FAILED {claim.name}: {claim.detail}")


def sample_word(report: "ParityReport") -> str:
    """What the samples are called: images, where the only input is one."""
    return "image" if set(_of(report, "ranges", {})) <= {"image"} else "sample"


def failed_claims(report: "ParityReport") -> tuple["Check", ...]:
    """What the bundle says of its own parity and could not be confirmed."""
    return tuple(claim for claim in _of(report, "claims", ()) if not claim.passed)


def _of(report: object, name: str, without: Any) -> Any:
    """A field that reports of earlier versions do not have."""
    return getattr(report, name, without)
