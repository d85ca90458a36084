"""Where a bundle's float16 graph lies: in the user's cache, made by `hnexport tune --precision float16`.

onnxruntime computes in the types that a graph names: there is no switch that runs a float32 graph in float16.
"""

from pathlib import Path

import onnxruntime

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.installed import is_complete
from hnexport.names import MODEL_FILE, WEIGHTS_FILE
from hnexport.runtime.advice import how_to_tune
from hnexport.runtime.cache import keyed_folder
from hnexport.runtime.entries import CacheEntry
from hnexport.spelling import spelled

__all__ = ["HALF_FILE", "HALF_RECORD_FILE", "find_half", "half_entry", "half_folder", "require_half"]

FORMAT_VERSION = 2  # of the conversion and its record; another one is another key
HALF_FILE = "model-float16.onnx"
HALF_RECORD_FILE = "float16.json"


def half_folder(manifest: Manifest) -> Path:
    """The folder of a bundle's float16 graph; it need not exist. It runs on any machine, unlike tuned graphs."""
    parts = [str(FORMAT_VERSION), onnxruntime.__version__]  # whose converter it is
    parts += [f"{name} {manifest.files[name].sha256}" for name in (MODEL_FILE, WEIGHTS_FILE)]
    return keyed_folder("float16", parts)


def half_entry(manifest: Manifest) -> CacheEntry:
    """The entry of that graph in the user's cache."""
    return CacheEntry(folder=half_folder(manifest), record_file=HALF_RECORD_FILE, files=(HALF_FILE,))


def find_half(manifest: Manifest) -> Path | None:
    """The float16 graph of a bundle, or None where there is none that is whole."""
    entry = half_entry(manifest)
    return entry.folder / HALF_FILE if entry.is_whole() else None


def require_half(manifest: Manifest, folder: Path | None) -> Path:
    """The float16 graph of the bundle in `folder`; None where its files are in memory.

    Raises:
        RuntimeInputError: there is none; the message says how to make it.
    """
    found = find_half(manifest)
    if found is None:
        there = folder is not None and is_complete()
        tuned = "load with tune=True, or choose precision='tf32'" if there else "or choose precision='tf32'"
        raise RuntimeInputError(
            f"{manifest.name} has no float16 graph in this user's cache: "
            f"{how_to_tune(folder, half=True)}, {spelled(tuned, 'or choose --precision tf32')}"
        )
    return found
