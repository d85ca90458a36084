"""Failing cases as files: images, what was expected and what was found, to be run again anywhere."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hnexport.errors import ParityError

__all__ = ["Case", "read_case", "write_case"]

SCHEMA = "hnexport-parity-case"


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One batch that failed.

    Attributes:
        images: `[batch, …]`, as the graph takes them.
        reference: float64 `[batch, class]`.
        found: `[batch, class]`, what the artifact returned.
        eager_error: float32 eager's relative L2 error on this member.
    """

    bundle: str
    artifact: str
    runtime: str
    member: int
    eager_error: float
    images: NDArray[np.generic]
    reference: NDArray[np.float64]
    found: NDArray[np.generic]


def write_case(folder: Path, case: Case) -> Path:
    """Write `ARTIFACT-member-N.json` and its `.safetensors` into a folder, which is made where it is missing.

    Returns:
        The JSON file.

    Raises:
        ParityError: the folder cannot be written.
    """
    path = folder / f"{Path(case.artifact).stem}-member-{case.member}.json"
    facts = {name: getattr(case, name) for name in ("bundle", "artifact", "runtime", "member", "eager_error")}
    tensors = {name: np.ascontiguousarray(getattr(case, name)) for name in ("images", "reference", "found")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path.with_suffix(".safetensors"))
        path.write_text(json.dumps({"schema": SCHEMA, **facts}, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise ParityError(f"{path} cannot be written: {error}") from error
    return path


def read_case(path: Path) -> Case:
    """Read what `write_case` wrote; `path` is either of the two files.

    Raises:
        ParityError: the files are missing, damaged or something else.
    """
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if facts.pop("schema", None) != SCHEMA:
            raise ParityError(f"{path} is not a failing case: its schema is not {SCHEMA!r}")
        tensors: dict[str, Any] = load_file(path.with_suffix(".safetensors"))
        return Case(**facts, **tensors)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ParityError(f"{path} cannot be read as a failing case: {error}") from error
