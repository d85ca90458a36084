"""The options of what computes in int8: samples, how ranges are chosen, and what it may cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.options import NumberRange, with_options
from hnexport.cli.pictures import reading_options

if TYPE_CHECKING:
    from hnexport.quantise.options import Int8Options

__all__ = ["Int8Flags", "int8_options"]

F = TypeVar("F", bound=Callable[..., Any])
_OWN = ("samples", "calibrate", "max_accuracy_drop", "min_agreement", "target")

_OPTIONS = (
    click.option(
        "--calibration",
        metavar="IMAGES",
        type=click.Path(path_type=Path),
        help="Samples that int8 takes its ranges from, and that say what fewer bits change: a folder of pictures, or "
        "of one for each class, .npz, .npy or Parquet.",
    ),
    click.option(
        "--samples", type=click.IntRange(min=1), help="So many of them calibrate, others judge.  [default: 256]"
    ),
    click.option(
        "--calibrate",
        type=click.Choice(["minmax", "percentile", "entropy"]),
        help="How the range of an activation is chosen.  [default: minmax]",
    ),
    click.option(
        "--max-accuracy-drop",
        type=NumberRange(),
        metavar="SHARE",
        help="Refuse what costs more, for instance 0.005.",
    ),
    click.option(
        "--min-agreement",
        type=NumberRange(),
        metavar="SHARE",
        help="Refuse what answers like float32 less often.",
    ),
    click.option(
        "--target", metavar="NAME", help="The array or column with what is right. Default: label, target or y."
    ),
)


def int8_options(function: F) -> F:
    """Add the options to a command."""
    return with_options(function, _OPTIONS)


@dataclass(frozen=True, kw_only=True)
class Int8Flags:
    """What was given.

    Attributes:
        samples: where they lie; None for half precision without any.
    """

    samples: Path | None
    options: "Int8Options"

    @classmethod
    def of(cls, given: Mapping[str, Any], precision: str, *, judges_half: bool = False) -> "Int8Flags | None":
        """The flags; None where the precision is another one.

        Args:
            judges_half: whether samples may also say what half precision changes.

        Raises:
            click.UsageError: options of int8 with another precision, or int8 without samples.
        """
        place: Path | None = given["calibration"]
        own = {name: given[name] for name in _OWN}
        if judges_half and precision in ("float16", "bfloat16"):
            own_to_int8 = [name for name in ("samples", "calibrate") if given[name] is not None]
            if own_to_int8:
                raise click.UsageError(f"--{own_to_int8[0]} is for --precision int8")
            return cls(samples=place, options=_options(own, given))
        if precision != "int8":
            named = [name for name, value in given.items() if value not in (None, False, ())]
            if named:
                raise click.UsageError(f"--{named[0].replace('_', '-')} is for --precision int8")
            return None
        if place is None:
            raise click.UsageError("--precision int8 needs --calibration IMAGES: samples of what the network will see")
        return cls(samples=place, options=_options(own, given))


def _options(own: Mapping[str, Any], given: Mapping[str, Any]) -> "Int8Options":
    from hnexport.evaluate import ReadOptions
    from hnexport.quantise.calibrate import Method
    from hnexport.quantise.cost import Budget
    from hnexport.quantise.options import Int8Options

    pictures = {name: value for name, value in given.items() if name not in own and name != "calibration"}
    return Int8Options(
        reading=ReadOptions(pictures=reading_options(pictures), target=own["target"]),
        samples=own["samples"] or 256,
        method=Method(own["calibrate"] or "minmax"),
        budget=Budget(accuracy_drop=own["max_accuracy_drop"], agreement=own["min_agreement"]),
    )
