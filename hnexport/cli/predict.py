"""`hnexport predict`: what the members say about images, and how much they disagree."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.options import (
    Integers,
    Numbers,
    bundle_argument,
    digest_option,
    json_option,
    provider_option,
    wide_option,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hnexport.cli import render
    from hnexport.runtime import EnsemblePrediction

__all__ = ["predict"]

MOST_CLASSES = 6  # of more than that the tables show the most probable five
TOP = 5


@click.command()
@bundle_argument
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--member", type=int, help="One member.")
@click.option("--members", type=Integers(accepts_all=True), help="Several: 2,3,7 or all. Default: all.")
@click.option("--labels", type=click.Path(path_type=Path), help="Names of the classes, one a line.")
@click.option("--resize", is_flag=True, help="Scale pictures of another size to the graph's.")
@click.option("--background", metavar="COLOUR", help="Behind transparent pictures: white, #ffffff or 255,255,255.")
@click.option("--frame", type=int, help="Which frame of an animation or page of a TIFF, from 0.")
@click.option("--mean", type=Numbers(), help="Subtract this from pixel/255, one number or one a channel.")
@click.option("--std", type=Numbers(), help="Then divide by this.")
@click.option("--engine", type=click.Choice(["onnxruntime", "openvino"]), default="onnxruntime", show_default=True)
@provider_option
@digest_option
@wide_option
@json_option
def predict(
    bundle: Path,
    images: tuple[Path, ...],
    member: int | None,
    members: tuple[int, ...] | None,
    labels: Path | None,
    resize: bool,
    background: str | None,
    frame: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    engine: str,
    provider: str,
    digest: str | None,
    wide: bool,
    as_json: bool,
) -> None:
    """Class probabilities of each member for images (PNG, JPEG and other pictures, or .npy as the graph takes it).

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
    batch = read_images(
        images,
        ensemble.manifest.spec,
        normalisation=normalisation,
        resize=resize,
        background=background,
        frame=frame,
    )
    if member is not None:
        members = (member,)
    prediction = ensemble.predict_mean(batch.images, members=members or "all")
    if as_json:
        render.print_json(_as_json(prediction, batch.names, names))
    else:
        for number, image in enumerate(batch.names):
            _print_image(prediction, number, image, names, wide)


def _print_image(
    prediction: "EnsemblePrediction", number: int, image: str, labels: tuple[str, ...], wide: bool
) -> None:
    """One table for an image: a row for each member, a column for each class (the five most probable of many).

    Where lines are short, the less probable classes go first.
    """
    import numpy as np

    from hnexport.cli import render

    mean = prediction.probabilities[number]
    several = len(prediction.members) > 1
    order = [int(one) for one in np.argsort(-mean, kind="stable")]
    classes = order[:TOP] if len(labels) > MOST_CLASSES else list(range(len(labels)))
    columns = [render.Column("member", right=True), render.Column("predicts", wrap=True)]
    columns += [
        render.Column(labels[one], right=True, rank=order.index(one), wrap=True, folded_title=True) for one in classes
    ]
    rows = [
        _row(str(member), prediction.member_probabilities[row, number], classes, labels)
        for row, member in enumerate(prediction.members)
    ]
    members = len(rows)
    if several:
        rows.append(_row("mean", mean, classes, labels))
        rows.append(["votes", "", *(str(prediction.votes[number][one]) for one in classes)])
    table = render.Table(title=image, columns=tuple(columns), rows=rows, rules=frozenset({members}))
    render.show_table(table, wide=wide)
    if several:
        render.say(
            f"predictive entropy {prediction.predictive_entropy[number]:.3f} nats (at most {np.log(len(labels)):.3f}), "
            f"mutual information {prediction.mutual_information[number]:.3f} nats "
            f"(at most {np.log(min(len(prediction.members), len(labels))):.3f})"
        )


def _row(
    name: str, p: "NDArray[np.float64]", classes: list[int], labels: tuple[str, ...]
) -> "list[str | render.Styled]":
    from hnexport.cli.render import Styled

    best = int(p.argmax()) if p.max() >= 0.0 else None  # NaN compares as false
    cells = [Styled(f"{p[one]:.1%}", "bold green") if one == best else f"{p[one]:.1%}" for one in classes]
    return [name, "nothing (NaN)" if best is None else labels[best], *cells]


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
