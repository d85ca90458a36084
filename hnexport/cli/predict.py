"""`hnexport predict`: what the members say about images, and how much they disagree."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.options import Integers, bundle_argument, digest_option, json_option, provider_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from hnexport.runtime import EnsemblePrediction

__all__ = ["predict"]

MOST_CLASSES = 6  # of more than that the tables show the most probable five
TOP = 5


class Numbers(click.ParamType[tuple[float, ...]]):
    """Comma-separated numbers."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse `0.49,0.48,0.45`."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of comma-separated numbers", param, ctx)


@click.command()
@bundle_argument
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--member", type=int, help="One member.")
@click.option("--members", type=Integers(accepts_all=True), help="Several: 2,3,7 or all. Default: all.")
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("--resize", is_flag=True, help="Scale pictures of another size to the graph's.")
@click.option("--mean", type=Numbers(), help="Subtract this from pixel/255, one number or one a channel.")
@click.option("--std", type=Numbers(), help="Then divide by this.")
@click.option("--engine", type=click.Choice(["onnxruntime", "openvino"]), default="onnxruntime", show_default=True)
@provider_option
@digest_option
@json_option
def predict(
    bundle: Path,
    images: tuple[Path, ...],
    member: int | None,
    members: tuple[int, ...] | None,
    labels: Path | None,
    resize: bool,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    engine: str,
    provider: str,
    digest: str | None,
    as_json: bool,
) -> None:
    """Class probabilities of each member for images (PNG, JPEG, or .npy as the graph takes it).

    With several members also their mean and how much they disagree: predictive entropy and mutual information in
    nats, and how many members vote for a class.
    """
    from hnexport.cli import render
    from hnexport.images import Normalisation, read_images, read_labels
    from hnexport.runtime import load

    if member is not None and members is not None:
        raise click.UsageError("give --member or --members, not both")
    normalisation = None
    if mean is not None or std is not None:
        normalisation = Normalisation(mean=mean or (0.0,), std=std or (1.0,))
    ensemble = load(bundle, provider=provider, engine=engine, strategy="generated", digest=digest)
    names = (
        read_labels(labels, ensemble.classes) if labels else tuple(f"class {one}" for one in range(ensemble.classes))
    )
    batch = read_images(images, ensemble.manifest.spec, normalisation=normalisation, resize=resize)
    if member is not None:
        members = (member,)
    prediction = ensemble.predict_mean(batch.images, members=members or "all")
    if as_json:
        render.print_json(_as_json(prediction, batch.names, names))
    else:
        for number, image in enumerate(batch.names):
            _print_image(prediction, number, image, names)


def _print_image(prediction: "EnsemblePrediction", number: int, image: str, labels: tuple[str, ...]) -> None:
    """One table for an image: a row for each member, a column for each class (the five most probable of many)."""
    import numpy as np
    from rich.markup import escape
    from rich.table import Table

    from hnexport.cli import render

    mean = prediction.probabilities[number]
    several = len(prediction.members) > 1
    classes = list(range(len(labels)))
    if len(labels) > MOST_CLASSES:
        classes = [int(one) for one in np.argsort(-mean, kind="stable")[:TOP]]
    table = Table(title=escape(image), title_justify="left")
    table.add_column("member", justify="right")
    table.add_column("predicts")
    for one in classes:
        table.add_column(escape(labels[one]), justify="right")
    for row, member in enumerate(prediction.members):
        _add_row(table, str(member), prediction.member_probabilities[row, number], classes, labels)
    if several:
        table.add_section()
        _add_row(table, "mean", mean, classes, labels)
        votes = prediction.votes[number]
        table.add_row("votes", "", *(str(votes[one]) for one in classes))
    render.print_table(table)
    if several:
        click.echo(
            f"predictive entropy {prediction.predictive_entropy[number]:.3f} nats (at most {np.log(len(labels)):.3f}), "
            f"mutual information {prediction.mutual_information[number]:.3f} nats "
            f"(at most {np.log(min(len(prediction.members), len(labels))):.3f})"
        )


def _add_row(table: "Table", name: str, p: "NDArray[np.float64]", classes: list[int], labels: tuple[str, ...]) -> None:
    from rich.markup import escape

    best = int(p.argmax()) if p.max() >= 0.0 else None  # NaN compares as false
    cells = [f"[bold green]{p[one]:.1%}[/]" if one == best else f"{p[one]:.1%}" for one in classes]
    table.add_row(name, "nothing (NaN)" if best is None else escape(labels[best]), *cells)


def _as_json(prediction: "EnsemblePrediction", images: tuple[str, ...], labels: tuple[str, ...]) -> Any:
    """One object for each image; NaN becomes null."""
    return [
        {
            "image": image,
            "labels": list(labels),
            "members": {
                str(member): {
                    "logits": _finite(prediction.logits[row, number]),
                    "probabilities": _finite(prediction.member_probabilities[row, number]),
                }
                for row, member in enumerate(prediction.members)
            },
            "mean_probabilities": _finite(prediction.probabilities[number]),
            "predictive_entropy_nats": _finite(prediction.predictive_entropy[number]),
            "mutual_information_nats": _finite(prediction.mutual_information[number]),
            "votes": prediction.votes[number].tolist(),
        }
        for number, image in enumerate(images)
    ]


def _finite(values: "NDArray[np.floating] | np.floating") -> Any:
    """Python numbers, with None for what JSON cannot say."""
    import numpy as np

    found = np.asarray(values, dtype=np.float64).astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()
