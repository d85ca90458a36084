"""`halve`: a float16 copy of a bundle's graph, checked, and only then put into the cache."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Format, Manifest, read_manifest
from hnexport.errors import BundleError
from hnexport.names import COND_ID, MODEL_FILE
from hnexport.parity.limits import FULL
from hnexport.parity.tolerances import Precision
from hnexport.progress import Progress, no_progress
from hnexport.quantise.half import write_half
from hnexport.runtime.half import HALF_FILE, half_entry
from hnexport.runtime.providers import open_session
from hnexport.runtime.session_options import session_options
from hnexport.tune.publish import Recipe, TunedBundle, publish

__all__ = ["halve"]


def halve(bundle: Path, *, force: bool = False, progress: Progress = no_progress) -> TunedBundle:
    """Make the float16 copy of `model.onnx`, verify every member of it on the CPU, and cache it.

    Every float32 tensor and operator becomes float16, the bases and the weights that are generated from them too;
    inputs and outputs keep their dtypes.

    Args:
        force: make it again if the cache holds it.
        progress: called after each verified member.

    Raises:
        BundleError: a file of the bundle is missing or damaged, or it holds no ONNX files.
        CacheError: there is no cache, or it cannot be written.
        TuneError: no float16 graph can be made of it, or that is further off than float16 explains, by numbers that
            leave its range for instance; nothing was cached.
    """
    manifest = read_manifest(bundle)
    if Format.ONNX not in manifest.formats:
        raise BundleError(f"{bundle} holds no ONNX files; build it with the format onnx")
    entry = half_entry(manifest)
    if not force and entry.is_whole():
        return TunedBundle(path=entry.folder, parity=None, seconds=0.0)
    recipe = Recipe(
        artifact="onnx-float16",
        called=f"the float16 graph of {manifest.name}",
        refusal=f"{manifest.name} is not the same in float16",
        made_for=f"onnxruntime {onnxruntime.__version__}",
        precision=Precision.FLOAT16,
        write=lambda folder: write_half(bundle / MODEL_FILE, folder / HALF_FILE),
        load=lambda folder: _HalfRunner(folder / HALF_FILE, manifest),
    )
    return publish(bundle, manifest, entry, recipe, progress)


class _HalfRunner:
    """A float16 graph under onnxruntime's CPU provider, which casts where it has no float16 kernel."""

    limits = FULL

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._session = open_session(path, session_options(None), "cpu")
        self._outputs = [output.name for output in manifest.outputs]
        self.runtime = f"onnxruntime {onnxruntime.__version__} cpu, float16"

    def run(self, cond_id: int, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        """The outputs of one member."""
        feed = {COND_ID: np.array(cond_id, dtype=np.int64), **inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))
