"""`score`: the parts that are missing, then one file of all."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from hnexport.bundle.manifest import read_identified
from hnexport.errors import RuntimeInputError
from hnexport.images import AppliedNormalisation
from hnexport.installed import require_extra
from hnexport.progress import Progress, no_progress
from hnexport.publishing import check_place, sweep
from hnexport.runtime.anytime import check_anytime
from hnexport.runtime.validation import require_path
from hnexport.score.assemble import Faults, assemble, faults_of, plan_of, rules
from hnexport.score.columns import columns_of
from hnexport.score.on_ray import RayWorkers, contents_by_ray, for_ray
from hnexport.score.options import ScoreOptions
from hnexport.score.parts import Parts, parts_folder, plan_of_parts
from hnexport.score.plan import Part, Plan, difference, make_plan
from hnexport.score.samples import Source
from hnexport.score.scorer import Job, Scorer, load_ensemble
from hnexport.score.sources import check_readable, open_source
from hnexport.spelling import spelled

__all__ = ["Scored", "score"]

STAGE = "score"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What was done.

    Attributes:
        out: the file.
        plan: what it holds, and how it came about.
        scored: rows that this call scored; the others were there already.
        seconds: that took.
        faults: rows without a prediction.
        normalised: how pictures were; None where there are none.
    """

    out: Path
    plan: Plan
    scored: int
    seconds: float
    faults: Faults
    normalised: AppliedNormalisation | None = None


def score(
    bundle: str | PathLike[str],
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    options: ScoreOptions | None = None,
    workers: RayWorkers | None = None,
    progress: Progress = no_progress,
) -> Scored:
    """Score every sample of some data. The same call goes on where one before it ended, however that was.

    Args:
        bundle: a folder.
        data: a folder of pictures, Parquet or Arrow with encoded pictures or inputs as numbers, or a `.npy` file.
        out: a new Parquet file. Until it is whole, the finished parts are in a folder beside it.
        workers: actors of Ray; None computes in this process.

    Raises:
        RuntimeInputError: the data are not what the network takes, something else is at `out`, parts of another call
            are beside it, another process is writing them, or the disk is full. What was scored before stays.
        BundleError: the bundle is missing or damaged.
        IncompleteError: pyarrow, or with `workers` Ray, is not installed.
    """
    require_extra("scoring a data set", "pyarrow", "score")
    began = time.monotonic()
    options, target = options or ScoreOptions(), require_path("the target", out)
    folder, place = (require_path(name, path).absolute() for name, path in (("the bundle", bundle), ("the data", data)))
    if target.suffix.lower() != ".parquet":
        raise RuntimeInputError(f"{spelled('the target', '--out')} must end in .parquet, found {target.name!r}")
    _check_outside(target, place)
    identified = read_identified(folder, options.digest)
    signature = identified.manifest.signature
    if options.until is not None:
        check_anytime(signature)
    columns_of(signature, 1, {}, member_outputs=options.member_outputs)
    source = open_source(place, identified.manifest, options)
    options = _going_on(options, target)
    if workers is not None:
        options = for_ray(options)
    ensemble = None if workers is not None else load_ensemble(folder, options, options.threads)
    plan = make_plan(
        identified,
        source,
        options,
        provider=options.provider if ensemble is None else ensemble.provider,
        precision=options.precision if ensemble is None else ensemble.precision.value,
        strategy=str(options.strategy) if ensemble is None else ensemble.strategy.value,
    )
    if _is_done(target, plan):
        sweep(target.parent)  # a crash may have come before either was removed
        if parts_folder(target).exists():
            with Parts.opened(target, plan) as parts:
                parts.remove()
        return _scored(target, plan, source, (), began)
    check_place(target, rules())
    if plan_of_parts(target) is None:
        check_readable(source, place)
    with Parts.opened(target, plan) as parts:
        done = parts.done()
        missing = [part for part in plan.parts if part.number not in done]
        job = Job(bundle=folder, data=place, options=options, plan=plan)
        if ensemble is not None:
            found = _contents(Scorer(ensemble, source, options, plan), missing)
        else:
            found = contents_by_ray(job, missing, workers or RayWorkers()) if missing else iter(())
        _write(parts, plan, missing, found, progress)
        assemble(parts, plan, target)
        parts.remove()
    return _scored(target, plan, source, missing, began)


def _going_on(options: ScoreOptions, target: Path) -> ScoreOptions:
    """The strategy of what is there already, where none is asked for: which one is faster depends on free memory."""
    before = plan_of_parts(target) or plan_of(target)
    return options if options.strategy is not None or before is None else replace(options, strategy=before.strategy)


def _check_outside(target: Path, data: Path) -> None:
    """Refuse to write into the data: they would be others by it, and the same call could not go on.

    Raises:
        RuntimeInputError: the target lies in the folder.
    """
    if data.is_dir() and Path(os.path.realpath(data)) in Path(os.path.realpath(target)).parents:
        raise RuntimeInputError(
            f"{target} lies in {data}, whose files are scored: choose another {spelled('target', '--out')}"
        )


def _scored(out: Path, plan: Plan, source: Source, parts: Sequence[Part], began: float) -> Scored:
    return Scored(
        out=out,
        plan=plan,
        scored=sum(part.stop - part.start for part in parts),
        seconds=time.monotonic() - began,
        faults=faults_of(out),
        normalised=source.normalised,
    )


def _contents(scorer: Scorer, parts: Sequence[Part]) -> Iterator[tuple[Part, bytes]]:
    return ((part, scorer.content(part)) for part in parts)


def _write(
    parts: Parts, plan: Plan, missing: Sequence[Part], found: Iterator[tuple[Part, bytes]], progress: Progress
) -> None:
    rows = plan.rows - sum(part.stop - part.start for part in missing)
    progress(STAGE, rows, plan.rows)
    for part, content in found:
        parts.write(part, content)
        rows += part.stop - part.start
        progress(STAGE, rows, plan.rows)


def _is_done(out: Path, plan: Plan) -> bool:
    """Whether the file is there, and is what this call would write."""
    before = plan_of(out)
    if before is None:
        return False
    told = difference(before, plan)
    if told:
        raise RuntimeInputError(f"{out} exists, with {told}: choose another {spelled('target', '--out')}")
    return True
