"""The bundle that is served: loaded in each precision, every member made, so that no file is read afterwards."""

import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnexport.bundle.manifest import Manifest, read_identified
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.machine.memory import release_freed_memory
from hnexport.names import MANIFEST_FILE
from hnexport.runtime import LoadedEnsemble, load
from hnexport.serve.settings import LoadSettings
from hnexport.text import number_of

__all__ = ["Served", "check_replacement", "load_served", "release", "stamp"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """One bundle, as it was when it was loaded.

    Attributes:
        digest: of the bundle.
        ensembles: by precision, in the order of the settings.
    """

    manifest: Manifest
    digest: str
    ensembles: dict[str, LoadedEnsemble]

    @property
    def version(self) -> str:
        """The version that clients may name: the first twelve digits of the digest."""
        return self.digest.partition(":")[2][:12]

    @property
    def first(self) -> LoadedEnsemble:
        """The ensemble of the precision that a request gets which names none."""
        return next(iter(self.ensembles.values()))

    @property
    def residents(self) -> int:
        """How many members' weights are in memory, of all precisions."""
        return sum(len(ensemble.resident_members) for ensemble in self.ensembles.values())


def load_served(bundle: Path, settings: LoadSettings) -> Served:
    """Load a bundle in every precision, check its golden sample and make all members, where all may be kept.

    Where not all members are kept, later ones are made of files that are then read again: these are held in memory, so
    that a bundle which takes their place on the disk cannot be mixed with this one.

    Raises:
        HnexportError: as `hnexport.runtime.load`.
    """
    identified = read_identified(bundle, settings.digest)
    manifest, source = identified.manifest, _source(bundle, identified.manifest, settings)
    ensembles = {}
    for precision in settings.precisions:
        ensemble = load(
            source,
            provider=settings.provider,
            engine=settings.engine,
            resident_members=settings.resident,
            threads=settings.threads,
            precision=precision,
            digest=identified.digest,
        )
        if ensemble.precision.value != precision:
            raise RuntimeInputError(
                f"precision {precision} cannot be had on {ensemble.provider}: it would compute in "
                f"{ensemble.precision.value}"
            )
        if ensemble.resident_limit >= ensemble.members and not ensemble.signature.conditions:
            ensemble.warm()
        ensembles[precision] = ensemble
    found = Served(manifest=manifest, digest=identified.digest, ensembles=ensembles)
    logger.info("%s: %s, %s resident", bundle, found.digest, number_of(found.residents, "member"))
    return found


def _source(bundle: Path, manifest: Manifest, settings: LoadSettings) -> Any:
    later = settings.resident is not None and (settings.resident < manifest.members or manifest.conditions)
    if not later:
        return bundle
    if settings.engine != "onnxruntime":
        raise RuntimeInputError(
            f"with OpenVINO all {manifest.members} members must be resident: leave the number of residents out"
        )
    return {name: (bundle / name).read_bytes() for name in (MANIFEST_FILE, *manifest.files) if _is_read(name)}


def _is_read(name: str) -> bool:
    return not name.endswith((".pt", ".pt2"))


def check_replacement(old: Served, new: Served) -> None:
    """Refuse a bundle that clients of the old one could not go on with.

    Raises:
        BundleError: it takes or gives something else, or has fewer members.
    """
    if new.manifest.signature != old.manifest.signature:
        raise BundleError("the new bundle takes or gives other tensors than the one that is served: start another")
    if new.manifest.members < old.manifest.members:
        raise BundleError(
            f"the new bundle has {number_of(new.manifest.members, 'member')}, the one that is served "
            f"{old.manifest.members}: start another service"
        )


def stamp(bundle: Path) -> tuple[int, ...] | None:
    """Which manifest lies there: changes when a bundle is published in its place; None where there is none."""
    try:
        found = (bundle / MANIFEST_FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def release() -> None:
    """Give back the memory of a bundle that nobody holds any more: its sessions lie in a circle of references."""
    gc.collect()
    release_freed_memory()
