"""Where tuned graphs lie, what they are keyed by, and how one is found; `hnexport tune` makes them."""

import logging
from pathlib import Path

import onnxruntime

from hnexport.bundle.manifest import Manifest
from hnexport.machine.processor import processor_identity
from hnexport.runtime.cache import keyed_folder
from hnexport.runtime.entries import CacheEntry

__all__ = [
    "FOLDED_HYPERNET_FILE",
    "FOLDED_NETWORK_FILE",
    "FOLDED_WEIGHTS_FILE",
    "RECORD_FILE",
    "find_tuned",
    "machine",
    "tuned_entry",
    "tuned_folder",
]

logger = logging.getLogger(__name__)

FORMAT_VERSION = 3  # of the folded graphs and their record; another one is another key
FOLDED_HYPERNET_FILE = "folded-hypernet.onnx"
FOLDED_NETWORK_FILE = "folded-network.onnx"
FOLDED_WEIGHTS_FILE = "folded.bin"
FOLDED_FILES = (FOLDED_HYPERNET_FILE, FOLDED_NETWORK_FILE, FOLDED_WEIGHTS_FILE)
RECORD_FILE = "tuned.json"


def machine() -> str:
    """What onnxruntime's blocked format depends on: its version and build, the processor and its features."""
    return "\n".join([onnxruntime.__version__, onnxruntime.get_build_info(), *processor_identity()])


def tuned_folder(manifest: Manifest) -> Path:
    """The folder of the graph that is tuned for a bundle, this machine and this onnxruntime; it need not exist."""
    parts = [str(FORMAT_VERSION), machine()]
    parts += [f"{name} {record.sha256}" for name, record in sorted(manifest.files.items()) if _matters(name)]
    return keyed_folder("tuned", parts)


def tuned_entry(manifest: Manifest) -> CacheEntry:
    """The entry of those graphs in the user's cache."""
    return CacheEntry(folder=tuned_folder(manifest), record_file=RECORD_FILE, files=FOLDED_FILES)


def find_tuned(manifest: Manifest) -> Path | None:
    """The folder with the graphs that are tuned for a bundle and this machine, or None where there is none."""
    entry = tuned_entry(manifest)
    if entry.is_whole():
        return entry.folder
    logger.info("no tuned graph of %s for this machine in %s; `hnexport tune` makes one", manifest.name, entry.folder)
    return None


def _matters(name: str) -> bool:
    return name.endswith((".onnx", ".bin"))
