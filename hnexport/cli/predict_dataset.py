"""`hnexport predict BUNDLE DATASET --out FILE.parquet`: a large set, in parts, on one machine or on many."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hnexport.cli.options import with_options
from hnexport.cli.pictures import reading_options, told

if TYPE_CHECKING:
    from hnexport.score import Scored, ScoreOptions

__all__ = ["scoring_options"]

_OPTIONS = (
    click.option(
        "--id", "identifier", metavar="COLUMN", help="Scoring: what rows are called. Default: id, or numbers."
    ),
    click.option("--member-outputs", is_flag=True, help="Scoring: also write what each member says."),
    click.option("--part-rows", type=click.IntRange(min=1), help="Scoring: rows of a part.  [default: 512]"),
    click.option(
        "--workers",
        type=click.Choice(["process", "ray"]),
        help="Scoring: this process, or actors of Ray Data with one thread each.  [default: process]",
    ),
    click.option("--address", help="Scoring: of a running Ray cluster. Default: Ray is started on this machine."),
    click.option("--actors", type=click.IntRange(min=1), help="Scoring: of Ray. Default: one for each core."),
)
_NAMES = ("identifier", "member_outputs", "part_rows", "workers", "address", "actors")
_FLAGS = {"identifier": "id"}


def scoring_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of scoring. With a Parquet file as `--out` the command scores, and its own body does not run."""

    @functools.wraps(function)
    def either(**given: Any) -> None:
        scoring = {name: given.pop(name) for name in _NAMES}
        out: Path | None = given["out"]
        if out is not None and out.suffix.lower() == ".parquet":
            _score(given, scoring)
            return
        wrong = next((name for name in _NAMES if scoring[name]), None)
        if wrong is not None:
            flag = _FLAGS.get(wrong, wrong).replace("_", "-")
            raise click.UsageError(f"--{flag} goes with --out FILE.parquet, which scores a data set")
        function(**given)

    return with_options(either, _OPTIONS)


def _score(given: Mapping[str, Any], scoring: Mapping[str, Any]) -> None:
    from hnexport.cli import render
    from hnexport.score import RayWorkers, score

    data = _data(given)
    on_ray = scoring["workers"] == "ray"
    for name in ("address", "actors"):
        if scoring[name] is not None and not on_ray:
            raise click.UsageError(f"--{name} goes with --workers ray")
    workers = RayWorkers(address=scoring["address"], actors=scoring["actors"]) if on_ray else None
    options, out = _options(given, scoring), given["out"]
    try:
        with render.live_progress(quiet=given["as_json"]) as progress:
            done = score(given["bundle"], data, out, options=options, workers=workers, progress=progress)
    except (KeyboardInterrupt, SystemExit):
        render.tell(f"what is scored stays beside {out}: the same command goes on with the rest")
        raise
    if given["as_json"]:
        render.print_json(_as_json(done))
        return
    for line in _lines(done):
        render.say(line, wrap=False)


def _data(given: Mapping[str, Any]) -> Path:
    """The one data set.

    Raises:
        click.UsageError: there is another number of them, or an option does not go with it.
    """
    if given["inputs"]:
        raise click.UsageError("--input gives arrays; a data set with several inputs is Parquet with their names")
    if len(given["images"]) != 1:
        raise click.UsageError(
            f"--out FILE.parquet scores one data set, a folder, Parquet, Arrow or .npy, found {len(given['images'])}"
        )
    if given["member"] is not None and given["members"] is not None:
        raise click.UsageError("give --member or --members, not both")
    data: Path = given["images"][0]
    return data


def _options(given: Mapping[str, Any], scoring: Mapping[str, Any]) -> "ScoreOptions":
    from hnexport.bundle.manifest import read_manifest
    from hnexport.cli.labels import given_class_names
    from hnexport.score import ScoreOptions
    from hnexport.score.options import PART_ROWS

    pictures = {name: given[name] for name in ("resize", "background", "frame", "mean", "std")}
    labels = given["labels"]
    return ScoreOptions(
        members=(given["member"],) if given["member"] is not None else given["members"] or None,
        until=given["until"],
        provider=given["provider"],
        engine=given["engine"],
        precision=given.get("precision") or "float32",
        strategy=given.get("strategy"),
        digest=given["digest"],
        pictures=reading_options(pictures, given["images"]),
        class_names={} if labels is None else given_class_names(read_manifest(given["bundle"]).signature, labels),
        identifier=scoring["identifier"],
        member_outputs=scoring["member_outputs"],
        part_rows=scoring["part_rows"] or PART_ROWS,
    )


def _lines(done: "Scored") -> list[str]:
    rows, before = done.plan.rows, done.plan.rows - done.scored
    how = f", {before:,} of them before" if before else ""
    lines = [f"scored {rows:,} rows{how}, in {done.seconds:.1f} s: {done.out}"]
    if done.faults.count:
        lines.append(f"{done.faults.count:,} of them have no prediction, and say why in the column error:")
        lines += [f"  row {one.row}, {one.id}: {one.error}" for one in done.faults.first]
        more = done.faults.count - len(done.faults.first)
        lines += [f"  and {more:,} more"] if more else []
    return [*lines, *filter(None, [told([done.normalised])])]


def _as_json(done: "Scored") -> dict[str, Any]:
    from hnexport.records import to_json

    return {
        "out": str(done.out),
        "rows": done.plan.rows,
        "scored": done.scored,
        "seconds": done.seconds,
        "without_prediction": done.faults.count,
        "first_errors": [{"row": one.row, "id": str(one.id), "error": one.error} for one in done.faults.first],
        "plan": to_json(done.plan),
    }
