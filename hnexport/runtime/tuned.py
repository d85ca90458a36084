"""Where tuned graphs lie, what they are keyed by, and how one is found; `hnexport tune` makes them."""

import hashlib
import json
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from hnexport.bundle.manifest import Manifest
from hnexport.records import RecordError, from_json

__all__ = [
    "FOLDED_HYPERNET_FILE",
    "FOLDED_NETWORK_FILE",
    "FOLDED_WEIGHTS_FILE",
    "RECORD_FILE",
    "TunedRecord",
    "cache_folder",
    "find_tuned",
    "machine",
    "tuned_folder",
]

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2  # of the folded graphs; another one is another key
FOLDED_HYPERNET_FILE = "folded-hypernet.onnx"
FOLDED_NETWORK_FILE = "folded-network.onnx"
FOLDED_WEIGHTS_FILE = "folded.bin"
RECORD_FILE = "tuned.json"


@dataclass(frozen=True, kw_only=True)
class TunedRecord:
    """What a cached graph was made for, and what its verification found.

    Attributes:
        key: the name of its folder.
        machine: onnxruntime's version, processor and its features, as they were.
        weights_bytes: size of the folded weights.
        relative_l2: largest relative L2 error of a row of logits against the float64 reference.
    """

    key: str
    bundle: str
    machine: str
    weights_bytes: int
    relative_l2: float


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/hnexport/tuned`, by default `~/.cache/hnexport/tuned`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hnexport" / "tuned"


def machine() -> str:
    """What onnxruntime's layout depends on: its version and build, the processor and its features."""
    processor = [platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = [platform.processor()]
    for name in ("vendor_id", "cpu family", "model", "model name", "flags", "Features"):
        processor += [line for line in lines if line.partition(":")[0].strip() == name][:1]
    return "\n".join([onnxruntime.__version__, onnxruntime.get_build_info(), *processor])


def tuned_folder(manifest: Manifest) -> Path:
    """The folder of the graph that is tuned for a bundle, this machine and this onnxruntime; it need not exist."""
    parts = [str(FORMAT_VERSION), machine()]
    parts += [f"{name} {record.sha256}" for name, record in sorted(manifest.files.items()) if _matters(name)]
    return cache_folder() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def find_tuned(manifest: Manifest) -> Path | None:
    """The folder with the graphs that are tuned for a bundle and this machine, or None where there is none."""
    folder = tuned_folder(manifest)
    if _read(folder) is None:
        logger.info("no tuned graph of %s for this machine in %s; `hnexport tune` makes one", manifest.name, folder)
        return None
    return folder


def _matters(name: str) -> bool:
    return name.endswith((".onnx", ".bin"))


def _read(folder: Path) -> TunedRecord | None:
    """The record of a complete cache entry."""
    try:
        record = from_json(TunedRecord, json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
        complete = (folder / FOLDED_WEIGHTS_FILE).stat().st_size == record.weights_bytes
    except (OSError, ValueError, RecordError):
        return None
    return record if complete and record.key == folder.name else None
