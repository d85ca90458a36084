"""Where a bundle's float16 graph lies: in the user's cache, made by `hnexport tune --precision float16`.

onnxruntime computes in the types that a graph names: there is no switch that runs a float32 graph in float16.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.records import RecordError, from_json
from hnexport.runtime.tuned import cache_folder

__all__ = ["HALF_FILE", "HALF_RECORD_FILE", "HalfRecord", "find_half", "half_folder", "require_half"]

FORMAT_VERSION = 1  # of the conversion; another one is another key
HALF_FILE = "model-float16.onnx"
HALF_RECORD_FILE = "float16.json"


@dataclass(frozen=True, kw_only=True)
class HalfRecord:
    """What a cached float16 graph was made of, and what its verification found.

    Attributes:
        key: the name of its folder.
        size_bytes: of the graph.
        relative_l2: largest relative L2 error of a row of logits against the float64 reference, on the CPU.
    """

    key: str
    bundle: str
    size_bytes: int
    relative_l2: float


def half_folder(manifest: Manifest) -> Path:
    """The folder of a bundle's float16 graph; it need not exist. It runs on any machine, unlike tuned graphs."""
    parts = [str(FORMAT_VERSION), onnxruntime.__version__]  # whose converter it is
    parts += [f"{name} {manifest.files[name].sha256}" for name in ("model.onnx", "weights.bin")]
    return cache_folder().parent / "float16" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def find_half(manifest: Manifest) -> Path | None:
    """The float16 graph of a bundle, or None where there is none that is whole."""
    folder = half_folder(manifest)
    path = folder / HALF_FILE
    try:
        record = from_json(HalfRecord, json.loads((folder / HALF_RECORD_FILE).read_text(encoding="utf-8")))
        whole = record.key == folder.name and path.stat().st_size == record.size_bytes
    except (OSError, ValueError, RecordError):
        return None
    return path if whole else None


def require_half(manifest: Manifest, folder: Path) -> Path:
    """The float16 graph of the bundle in `folder`.

    Raises:
        RuntimeInputError: there is none; the message says how to make it.
    """
    found = find_half(manifest)
    if found is None:
        raise RuntimeInputError(
            f"{manifest.name} has no float16 graph in this user's cache: run "
            f"`hnexport tune {folder} --precision float16` once, load with tune=True, or choose precision='tf32'"
        )
    return found
