"""Where a bundle's float16 graph lies: in the user's cache, made by `hnexport tune --precision float16`.

onnxruntime computes in the types that a graph names: there is no switch that runs a float32 graph in float16.
"""

from pathlib import Path

import onnxruntime

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.names import MODEL_FILE, WEIGHTS_FILE
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


def require_half(manifest: Manifest, folder: Path) -> Path:
    """The float16 graph of the bundle in `folder`.

    Raises:
        RuntimeInputError: there is none; the message says how to make it.
    """
    found = find_half(manifest)
    if found is None:
        raise RuntimeInputError(
            f"{manifest.name} has no float16 graph in this user's cache: run "
            f"`hnexport tune {folder} --precision float16` once, "
            + spelled("load with tune=True, or choose precision='tf32'", "or choose --precision tf32")
        )
    return found
