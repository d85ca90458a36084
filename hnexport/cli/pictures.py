"""Options of commands that read pictures, and how what was made of them is told."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.options import Numbers
from hnexport.spec.images import ImageInput
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
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def reading_options(given: Mapping[str, Any], image: ImageInput | None, files: Iterable[Path] = ()) -> dict[str, Any]:
    """What `read_images` is told, out of what a command was given.

    Args:
        image: the input that takes them.
        files: all of them, where they are known.

    Raises:
        click.UsageError: half a normalisation is given where the ensemble says the other, or one without pictures.
    """
    names = [path.suffix.lower() for path in files]
    normalisation = given_normalisation(given, image)
    if normalisation is not None and names and all(name == ".npy" for name in names):
        raise click.UsageError(
            "--mean and --std say how pictures become an input, arrays are taken as they are: leave them out"
        )
    return {name: given[name] for name in ("resize", "background", "frame")} | {"normalisation": normalisation}


def given_normalisation(given: Mapping[str, Any], image: ImageInput | None) -> Normalisation | None:
    """What `--mean` and `--std` say; None where neither is given.

    Raises:
        click.UsageError: one is given, and it is not clear whether the ensemble's other one goes with it.
        SpecError: they cannot be.
    """
    from hnexport.images.normalising import in_words

    mean, std, plain = given["mean"], given["std"], Normalisation()
    if mean is None and std is None:
        return None
    own = (None if image is None else image.normalisation) or plain
    if (mean is None and any(own.mean)) or (std is None and any(one != 1.0 for one in own.std)):
        raise click.UsageError(
            f"the ensemble says {in_words(own.mean, own.std)}: give both --mean and --std to use others, or neither"
        )
    return Normalisation(mean=mean or plain.mean, std=std or plain.std)


def told(applied: Iterable["AppliedNormalisation | None"], holder: str = "bundle") -> str:
    """How pictures were normalised, and who said so, in a line; "" where there were none."""
    from hnexport.images import NormalisedBy
    from hnexport.images.normalising import in_words

    used = next((one for one in applied if one is not None), None)
    if used is None:
        return ""
    if used.mean is None or used.std is None:
        return "pictures: pixels from 0 to 255, the graph normalises them"
    by = "the command" if used.by is NormalisedBy.GIVEN else f"the {holder}"
    return f"pictures: (pixel/255 - mean) / std, {in_words(used.mean, used.std)}, as {by} says"
