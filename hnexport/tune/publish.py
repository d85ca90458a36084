"""Make a graph from a bundle, check it, and only then put it into the cache."""

import dataclasses
import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from hnexport.bundle.checksums import check_files, record_file
from hnexport.bundle.golden import read_golden, within
from hnexport.bundle.manifest import Manifest
from hnexport.errors import BundleError, TuneError, TuneFailedError
from hnexport.parity.artifact import Plan, verify_artifact
from hnexport.parity.batches import allowed_sizes
from hnexport.parity.results import ArtifactReport
from hnexport.parity.runners import Runner
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.progress import Progress, no_progress
from hnexport.publishing import Contents, Rules, check_place, list_tree, staged_folder
from hnexport.records import to_json
from hnexport.runtime.cache import require_cache, writing_cache
from hnexport.runtime.entries import CacheEntry, CacheRecord

__all__ = ["Recipe", "TunedBundle", "publish"]


@dataclass(frozen=True, kw_only=True)
class TunedBundle:
    """A graph in the cache.

    Attributes:
        parity: what its verification found; None where the cache held it already.
    """

    path: Path
    parity: ArtifactReport | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a graph is made and checked.

    Attributes:
        artifact: its name in reports.
        called: its name in messages.
        refusal: how the error begins if a member differs.
        made_for: what the record says beside the key.
        precision: by whose tolerance it is judged.
        write: writes the graphs into a folder.
        load: opens the graphs in a folder, to be verified by the golden samples.
        judge: verifies the graphs in a folder in another way, instead of that.
    """

    artifact: str
    called: str
    refusal: str
    made_for: str
    precision: Precision
    write: Callable[[Path], None]
    load: Callable[[Path], Runner] | None = None
    judge: Callable[[Path], ArtifactReport] | None = None


def publish(
    bundle: Path, manifest: Manifest, entry: CacheEntry, recipe: Recipe, progress: Progress = no_progress
) -> TunedBundle:
    """Write an entry of the cache beside its place, verify it there, and rename it.

    Args:
        progress: called after each verified member.

    Raises:
        BundleError: a file of the bundle is missing or damaged.
        CacheError: there is no cache, or it cannot be written.
        TuneFailedError: a member differs; nothing was cached.
        TuneError: weights are made of a condition vector, or the entry's folder holds what is not hnexport's.
    """
    if manifest.conditions:
        raise TuneError(
            f"{manifest.name} makes its weights of {', '.join(manifest.conditions)} too: only members can be tuned; "
            "load(…).materialise(…) keeps the plain network of a condition"
        )
    require_cache()
    with writing_cache():
        return _publish(bundle, manifest, entry, recipe, progress)


def _publish(bundle: Path, manifest: Manifest, entry: CacheEntry, recipe: Recipe, progress: Progress) -> TunedBundle:
    start = time.perf_counter()
    check_files(bundle, manifest, manifest.files)
    wrote: set[str] = set()
    rules = Rules(replaces=lambda found: _contents(found, wrote), called="cache folder", what="graph", forced_by="")
    check_place(entry.folder, dataclasses.replace(rules, replaces=lambda found: Contents()))  # the names come later
    with staged_folder(entry.folder, rules) as folder:
        recipe.write(folder)
        report = _verified(folder, bundle, manifest, recipe, progress)
        if not report.passed:
            raise TuneFailedError(f"{recipe.refusal}: {report.failures[0]}; not cached")
        record = CacheRecord(
            key=entry.folder.name,
            bundle=manifest.name,
            made_for=recipe.made_for,
            files={name: record_file(folder / name) for name in entry.files},
            relative_l2=report.worst.relative_l2,
        )
        (folder / entry.record_file).write_text(
            json.dumps(to_json(record), indent=2) + "\n", encoding="utf-8", newline="\n"
        )
        wrote.update(list_tree(folder))
    return TunedBundle(path=entry.folder, parity=report, seconds=time.perf_counter() - start)


def _verified(folder: Path, bundle: Path, manifest: Manifest, recipe: Recipe, progress: Progress) -> ArtifactReport:
    """The report on every member of the graphs in a folder."""
    if recipe.judge is not None:
        return recipe.judge(folder)
    if recipe.load is None:
        raise TypeError("a recipe says how its graphs are verified: load or judge")
    try:
        runner = recipe.load(folder)
    except BundleError as error:
        raise TuneError(f"onnxruntime cannot load {recipe.called}: {error}") from error
    golden = within(read_golden(bundle, manifest), manifest.signature, recipe.precision)
    tolerance = TOLERANCES[recipe.precision]
    sizes = allowed_sizes(recipe.artifact, runner.limits, None, golden.samples)
    plan = Plan(members=manifest.members, batch_sizes=sizes, tolerance=tolerance, progress=progress)
    return verify_artifact(recipe.artifact, runner, manifest.signature, golden, plan)


def _contents(folder: Path, wrote: Collection[str]) -> Contents:
    """What an earlier run left of the same entry, whole or damaged: files of the same names, or an empty folder.

    Raises:
        TuneError: somebody put something else there.
    """
    is_folder = folder.is_dir() and not folder.is_symlink()
    foreign = sorted(set(list_tree(folder)) - set(wrote)) if is_folder else [folder.name]
    if foreign:
        where = folder if is_folder else folder.parent
        raise TuneError(f"{where} holds {foreign[0]}, which hnexport did not write: move it away, and tune again")
    return Contents(ours=frozenset(list_tree(folder)))
