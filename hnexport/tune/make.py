"""`tune`: fold a bundle's graph for this machine, check it, and only then put it into the cache."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.errors import BundleError
from hnexport.parity.limits import FULL
from hnexport.parity.tolerances import Precision
from hnexport.progress import Progress, no_progress
from hnexport.runtime.folded import FoldedNetwork
from hnexport.runtime.tuned import find_tuned, machine, tuned_entry
from hnexport.tune.fold import write_folded
from hnexport.tune.publish import Recipe, TunedBundle, publish

__all__ = ["tune"]


def tune(bundle: Path, *, force: bool = False, progress: Progress = no_progress) -> TunedBundle:
    """Make the graph that is folded for this machine, verify every member of it, and cache it.

    Args:
        force: make it again if the cache holds it.
        progress: called after each verified member.

    Raises:
        BundleError: a file of the bundle is missing or damaged.
        CacheError: there is no cache, or it cannot be written.
        TuneError: this ensemble cannot be folded, or the folded graph does not compute what PyTorch computes; nothing
            was cached.
    """
    manifest = read_manifest(bundle)
    entry = tuned_entry(manifest)
    if not force and _is_whole(manifest):
        return TunedBundle(path=entry.folder, parity=None, seconds=0.0)
    recipe = Recipe(
        artifact="onnx-folded",
        called=f"the folded graphs of {manifest.name}",
        refusal=f"the folded graph of {manifest.name} is not the same",
        made_for=machine(),
        precision=Precision.FLOAT32,
        write=lambda folder: write_folded(bundle, manifest, folder),
        load=_FoldedRunner,
    )
    return publish(bundle, manifest, entry, recipe, progress)


def _is_whole(manifest: Manifest) -> bool:
    """Whether the cache holds the graphs, and they load."""
    folder = find_tuned(manifest)
    if folder is None:
        return False
    try:
        FoldedNetwork(folder)
    except BundleError:
        return False
    return True


class _FoldedRunner:
    """The folded graphs under onnxruntime, before they are published."""

    limits = FULL

    def __init__(self, folder: Path) -> None:
        self._network = FoldedNetwork(folder)
        self.runtime = f"onnxruntime {onnxruntime.__version__} cpu, folded"

    def run(self, cond_id: int, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        """The outputs of one member."""
        return self._network.materialise(cond_id)(inputs)
