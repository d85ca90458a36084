"""Options of commands that read pictures, and how what was made of them is told."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.options import Numbers, with_options
from hnexport.spec.usage import Normalisation

if TYPE_CHECKING:
    from hnexport.images import AppliedNormalisation

__all__ = ["given_normalisation", "picture_options", "reading_options", "told"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--resize", is_flag=True, help="Scale pictures of another size to the graph's."),
    click.option("--background", metavar="COLOUR", help="Behind transparent pictures: white, #ffffff or 255,255,255."),
    click.option("--frame", type=int, help="Which frame of an animation or page of a TIFF, from 0."),
    click.option(
        "--mean",
        type=Numbers(),
        help="How training normalised pictures: subtract this from pixel/255, one number or one a channel. Default: as "
        "the ensemble says.",
    ),
    click.option("--std", type=Numbers(), help="Then divide by this."),
)


def picture_options(function: F) -> F:
    """`--resize`, `--background`, `--frame`, `--mean` and `--std`: what is made of pictures."""
    return with_options(function, _OPTIONS)


def reading_options(given: Mapping[str, Any], files: Iterable[Path] = ()) -> dict[str, Any]:
    """What `read_images` is told, out of what a command was given.

    Args:
        files: all of them, where they are known.

    Raises:
        click.UsageError: half a normalisation is given, or one without pictures.
    """
    names = [path.suffix.lower() for path in files]
    normalisation = given_normalisation(given["mean"], given["std"])
    if normalisation is not None and names and all(name == ".npy" for name in names):
        raise click.UsageError(
            "--mean and --std say how pictures become an input, arrays are taken as they are: leave them out"
        )
    return {name: given[name] for name in ("resize", "background", "frame")} | {"normalisation": normalisation}


def given_normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Normalisation | None:
    """What `--mean` and `--std` say; None where neither is given.

    Raises:
        click.UsageError: one is given without the other.
        SpecError: they cannot be.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        given, missing, neutral = ("mean", "std", 1) if std is None else ("std", "mean", 0)
        raise click.UsageError(
            f"--{given} goes with --{missing}: give both, --{missing} {neutral} where there was none"
        )
    return Normalisation(mean=mean, std=std)


def told(applied: Iterable["AppliedNormalisation | None"]) -> str:
    """How pictures were normalised, and who said so, in a line; "" where there were none."""
    used = next((one for one in applied if one is not None), None)
    return "" if used is None else used.told()
