"""Bundles whose files are symlinks, as model hubs store them: one way to hand them to runtimes that confine access.

A hub keeps every file in a store, under its hash, and puts a symlink into the folder that a user sees. onnxruntime 1.31
follows `weights.bin` into the folder of the model, or of what the model is a symlink to, and nowhere else; inside a
Loop's body it takes neither symlinks nor files with several hard links. OpenVINO 2026.4 follows into the model's own
folder alone. Bundles are checked by their checksums (`hnexport.bundle.checksums`), wherever their bytes lie, so what a
runtime refuses only for where files lie is given to it in another way here. What is no symlink is opened by its path.
"""

import contextlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnexport.bundle.manifest import FORMAT_FILES, Format
from hnexport.names import ENSEMBLE_FILE, WEIGHTS_FILE
from hnexport.reading import open_regular

__all__ = ["SessionSource", "confined_path", "session_source"]

_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True, kw_only=True)
class SessionSource:
    """What `onnxruntime.InferenceSession` takes; `kept` has to live until it was made."""

    model: str | bytes
    kept: object = None


def session_source(path: Path, options: Any) -> SessionSource:
    """An ONNX file for onnxruntime, by its path wherever onnxruntime takes that.

    Args:
        options: `onnxruntime.SessionOptions`; where the path would be refused, the weights are added to it.

    Raises:
        BundleError: `ensemble.onnx` of a bundle with symlinks is damaged.
        ReadError: a file is missing or no regular file.
    """
    weights = path.with_name(WEIGHTS_FILE)
    if path.name not in FORMAT_FILES[Format.ONNX] or not weights.is_file():
        return SessionSource(model=str(path))
    if path.name == ENSEMBLE_FILE and (weights.is_symlink() or weights.stat().st_nlink > 1):
        return _with_outer_tensors(path, options)
    if _real_folder(weights) in (_real_folder(path), Path(os.path.realpath(path.parent))):
        return SessionSource(model=str(path))
    with open_regular(path) as file:
        model = file.read()
    with open_regular(weights) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    options.add_external_initializers_from_files_in_memory([WEIGHTS_FILE], [mapped], [len(mapped)])
    return SessionSource(model=model, kept=mapped)


@contextlib.contextmanager
def confined_path(path: Path) -> Iterator[Path]:
    """A path at which model and weights are files of one folder: `path` itself, or hard links or copies for a while."""
    weights = path.with_name(WEIGHTS_FILE)
    if path.name not in FORMAT_FILES[Format.ONNX] or _real_folder(weights) == Path(os.path.realpath(path.parent)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="hnexport-", ignore_cleanup_errors=True) as folder:
        for file in (path, weights):
            _link_or_copy(Path(os.path.realpath(file)), Path(folder) / file.name)
        yield Path(folder) / path.name


def _with_outer_tensors(path: Path, options: Any) -> SessionSource:
    """The file with the tensors of the Loop's body in the outer graph. (Only parity opens it, and has onnx.)"""
    from hnexport.bundle.onnx_data import read_model, relocate

    model = read_model(path)
    options.add_session_config_entry(_EXTERNAL_FOLDER, str(relocate(model, path)))
    return SessionSource(model=model.SerializeToString())


def _real_folder(path: Path) -> Path:
    return Path(os.path.realpath(path)).parent


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
