"""`hnexport evaluate --out`: a temperature, and when members are enough, fitted on held-out data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.options import NumberRange, with_options
from hnexport.publishing import check_place

if TYPE_CHECKING:
    from hnexport.evaluate import EvaluateOptions, Evaluation, StatedLoss
    from hnexport.progress import Progress

__all__ = ["Fit", "check_fit", "fit_options", "left_behind", "publish_fit", "read_fit"]

F = TypeVar("F", bound=Callable[..., Any])

FITTED = ("temperature", "until")
_LOSSES = ("max_accuracy_drop", "max_changed", "max_ece_rise")
_SHARE = NumberRange(0, 1, min_open=True, max_open=True)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What is fitted, and where the bundle goes that has it.

    Attributes:
        until: the stated loss; None where no rule is chosen.
    """

    out: Path | None
    force: bool
    temperature: bool
    until: "StatedLoss | None"
    least: int


def fit_options(function: F) -> F:
    """`--out` and what goes with it."""
    options = (
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            help="Fit a temperature on DATA, with a stated loss also a rule for --until; write a new bundle with them.",
        ),
        click.option("--force", is_flag=True, help="Replace a bundle that is at --out."),
        click.option(
            "--fit",
            metavar="WHAT",
            help="With --out: temperature, until, or temperature,until. Default: a temperature, and until where a loss "
            "is stated; then a bundle that has a temperature keeps it.",
        ),
        click.option(
            "--max-accuracy-drop", type=_SHARE, help="With --out: how much accuracy stopping may cost, such as 0.005."
        ),
        click.option("--max-changed", type=_SHARE, help="With --out: how many answers stopping may change, a share."),
        click.option("--max-ece-rise", type=_SHARE, help="With --out: how much calibration error stopping may add."),
        click.option(
            "--least", type=click.IntRange(1), help="With --out: at least so many members, whatever is chosen."
        ),
    )
    return with_options(function, options)


def read_fit(bundle: Path, given: dict[str, Any], *, some: bool) -> Fit:
    """Take the options of `fit_options` out of all that were given.

    Args:
        some: whether only some members are evaluated.
    """
    out, force, asked, least = (given.pop(name) for name in ("out", "force", "fit", "least"))
    losses = {name: given.pop(name) for name in _LOSSES}
    stated = [name for name, value in losses.items() if value is not None]
    if out is None:
        alone = [*stated, *(["fit"] if asked else []), *(["least"] if least is not None else [])]
        if alone:
            raise click.UsageError(f"--{alone[0].replace('_', '-')} goes with --out")
        return Fit(out=None, force=force, temperature=False, until=None, least=1)
    if some:
        raise click.UsageError("--out fits one temperature, and one order, for all members: leave --members out")
    what = _what(bundle, asked, stated=bool(stated))
    if "until" in what and not stated:
        raise click.UsageError(
            "--fit until needs a stated loss: --max-accuracy-drop 0.005, --max-changed or --max-ece-rise"
        )
    if "until" not in what and (stated or least is not None):
        raise click.UsageError(f"--{(stated or ['least'])[0].replace('_', '-')} is for --fit until")
    from hnexport.evaluate import StatedLoss

    until = StatedLoss(**losses) if "until" in what else None
    return Fit(out=out, force=force, temperature="temperature" in what, until=until, least=least or 1)


def _what(bundle: Path, asked: str | None, *, stated: bool) -> tuple[str, ...]:
    """What is to be fitted: as it is said, or what the bundle lacks and was stated."""
    if asked is None:
        from hnexport.bundle.manifest import read_manifest

        has_one = stated and read_manifest(bundle).temperature is not None
        return ("until",) if has_one else FITTED if stated else FITTED[:1]
    what = tuple(part.strip() for part in asked.split(","))
    unknown = next((part for part in what if part not in FITTED), None)
    if unknown is not None:
        raise click.UsageError(f"--fit takes {' and '.join(FITTED)}, comma-separated, found {unknown!r}")
    return what


def check_fit(fit: Fit, bundle: Path, options: "EvaluateOptions") -> None:
    """Whether --out can be fulfilled, before the data are read."""
    if fit.out is None:
        return
    from hnexport.bundle.writer import bundle_rules, check_another
    from hnexport.installed import require_complete

    require_complete("`hnexport evaluate --out`")
    from hnexport.evaluate.derive import check_derivable

    check_another(bundle, fit.out)
    check_place(fit.out, bundle_rules(force=fit.force))
    check_derivable(bundle, temperature=fit.temperature, trust=options.trust, digest=options.digest)


def publish_fit(
    fit: Fit, found: "Evaluation", bundle: Path, options: "EvaluateOptions", progress: "Progress"
) -> str | None:
    """Publish the bundle that has what was fitted; its digest. None where nothing was asked for."""
    if fit.out is None:
        return None
    from hnexport.evaluate.derive import derive_bundle, fitted_anytime, fitted_temperature

    done = derive_bundle(
        bundle,
        fit.out,
        fitted_temperature(found),
        anytime=fitted_anytime(found),
        provider=options.provider,
        trust=options.trust,
        force=fit.force,
        digest=found.digest,
        evaluation=found,
        progress=progress,
    )
    return done.digest


def left_behind(fit: Fit, bundle: Path) -> str:
    """That the rule of `bundle` is not in the new one; "" where it has none, or another was chosen."""
    from hnexport.bundle.manifest import read_manifest

    if fit.until is not None or read_manifest(bundle).anytime is None:
        return ""
    return (
        f"when members are enough, which {bundle} says, was chosen without this temperature: {fit.out} does not say "
        "it; state the loss again, with --max-changed 0.01 for instance, to choose it anew"
    )
