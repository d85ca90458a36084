"""The options of bases in fewer bits: what they are rounded to, and what that may change."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.options import NumberRange, with_options
from hnexport.spec import BasisDtype

if TYPE_CHECKING:
    from hnexport.parity.rounding import Judge

__all__ = ["BASES", "bases_options", "given_bases", "given_judge", "least_of_rows"]

F = TypeVar("F", bound=Callable[..., Any])
BASES = ("bases", "max_logit_change", "min_agreement", "judge_on", "max_accuracy_drop", "target")
_OPTIONS = (
    click.option(
        "--bases",
        type=click.Choice([dtype.value for dtype in BasisDtype]),
        help="How the hypernetwork's bases are stored: float16 halves the files, int8 takes a quarter, int4 a seventh; "
        "weights are still generated in float32.  [default: float32, or as the checkpoint has them]",
    ),
    click.option(
        "--max-logit-change",
        type=NumberRange(min=0.0),
        help="Write nothing where rounding the bases changes a row of an output by more (relative L2).",
    ),
    click.option(
        "--min-agreement",
        type=NumberRange(0.0, 1.0),
        help="Write nothing where fewer rows, 0 to 1, keep their largest class when bases are rounded; with --judge-on "
        "fewer answers to DATA.",
    ),
    click.option(
        "--judge-on",
        metavar="DATA",
        type=click.Path(path_type=Path),
        help="Say what rounding the bases changes in answers to held-out data, which `hnexport evaluate` would take.",
    ),
    click.option(
        "--max-accuracy-drop",
        type=NumberRange(),
        metavar="SHARE",
        help="Write nothing where rounding the bases costs more accuracy on DATA, for instance 0.005.",
    ),
    click.option("--target", metavar="NAME", help="The array or column of DATA with what is right."),
)


def bases_options(function: F) -> F:
    """`--bases` and the limits of what rounding may change."""
    return with_options(function, _OPTIONS)


def given_bases(options: Mapping[str, Any]) -> BasisDtype | None:
    """What `--bases` says.

    Raises:
        click.UsageError: the options do not go together.
    """
    for name in ("max_accuracy_drop", "target"):
        if options[name] is not None and options["judge_on"] is None:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --judge-on DATA")
    return None if options["bases"] is None else BasisDtype(options["bases"])


def least_of_rows(options: Mapping[str, Any]) -> float | None:
    """The agreement that is asked for of random samples: none where there are data."""
    return None if options["judge_on"] is not None else options["min_agreement"]


def given_judge(options: Mapping[str, Any]) -> "Judge | None":
    """What `--judge-on` says."""
    from hnexport.evaluate import ReadOptions
    from hnexport.quantise.cost import Budget
    from hnexport.quantise.judged import JudgedOn

    if options["judge_on"] is None:
        return None
    return JudgedOn(
        place=options["judge_on"],
        budget=Budget(accuracy_drop=options["max_accuracy_drop"], agreement=options["min_agreement"]),
        reading=ReadOptions(target=options["target"]),
    )
