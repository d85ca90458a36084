"""Make a graph from a bundle, check it, and only then put it into the cache."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hnexport.bundle.checksums import check_files, record_file
from hnexport.bundle.manifest import Manifest
from hnexport.bundle.writer import staged_folder
from hnexport.errors import TuneError
from hnexport.parity.results import ArtifactReport
from hnexport.records import to_json
from hnexport.runtime.entries import CacheEntry, CacheRecord

__all__ = ["TunedBundle", "publish"]


@dataclass(frozen=True, kw_only=True)
class TunedBundle:
    """A graph in the cache.

    Attributes:
        parity: what its verification found; None where the cache held it already.
    """

    path: Path
    parity: ArtifactReport | None
    seconds: float


def publish(
    bundle: Path,
    manifest: Manifest,
    entry: CacheEntry,
    made_for: str,
    write: Callable[[Path], None],
    verify: Callable[[Path], ArtifactReport],
    refusal: str,
) -> TunedBundle:
    """Write an entry beside its place, verify it there, and rename it.

    Args:
        made_for: what the record says beside the key.
        write: writes the graphs into a folder.
        verify: runs every member of the graphs in a folder.
        refusal: how the error begins if a member differs.

    Raises:
        BundleError: a file of the bundle is missing or damaged, or the cache cannot be written.
        TuneError: a member differs; nothing was cached.
    """
    start = time.perf_counter()
    check_files(bundle, manifest, manifest.files)
    entry.folder.parent.mkdir(parents=True, exist_ok=True)
    with staged_folder(entry.folder) as folder:
        write(folder)
        report = verify(folder)
        if not report.passed:
            raise TuneError(f"{refusal}: {report.failures[0]}; not cached")
        record = CacheRecord(
            key=entry.folder.name,
            bundle=manifest.name,
            made_for=made_for,
            files={name: record_file(folder / name) for name in entry.files},
            relative_l2=report.worst.relative_l2,
        )
        (folder / entry.record_file).write_text(json.dumps(to_json(record), indent=2) + "\n", encoding="utf-8")
    return TunedBundle(path=entry.folder, parity=report, seconds=time.perf_counter() - start)
