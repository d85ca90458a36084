"""What `build` and `convert` are told of an ensemble beside its tensors: normalisation, class names, licence."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.options import Numbers, with_options
from hnexport.cli.pictures import given_normalisation

if TYPE_CHECKING:
    from hnexport.ensemble import Ensemble
    from hnexport.spec.usage import Normalisation, Usage

__all__ = ["USAGE", "given_usage", "usage_options"]

F = TypeVar("F", bound=Callable[..., Any])
USAGE = ("mean", "std", "labels", "license")
OPTIONS = (
    click.option(
        "--mean",
        type=Numbers(),
        help="How training normalised pictures: subtract this from pixel/255, … With --preprocess uint8 the graph does "
        "it, otherwise whoever uses it is told.",
    ),
    click.option("--std", type=Numbers(), help="… then divide by this; one number, or one a channel."),
    click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes in their order, one a line."),
    click.option("--license", metavar="SPDX", help="Under which the weights are given, for instance apache-2.0."),
)


def usage_options(function: F) -> F:
    """`--mean`, `--std`, `--labels` and `--license`."""
    return with_options(function, OPTIONS)


def given_usage(ensemble: "Ensemble", options: Mapping[str, Any]) -> "Usage":
    """What the options say of this ensemble.

    Raises:
        click.UsageError: they say half of it, or nothing that fits this ensemble.
        HnexportError: a file of names cannot be read, or something is not what it should be.
    """
    from hnexport.cli.labels import given_class_names
    from hnexport.spec.usage import Usage

    labels = options["labels"]
    return Usage(
        normalisation=_normalisation(options),
        class_names={} if labels is None else given_class_names(ensemble.signature, labels),
        license=options["license"],
    )


def _normalisation(options: Mapping[str, Any]) -> "Normalisation | None":
    return None if options["preprocess"] is not None else given_normalisation(options["mean"], options["std"])
