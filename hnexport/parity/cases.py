"""Failing cases as files: images, what was expected and what was found, to be run again anywhere."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hnexport.errors import ParityError
from hnexport.reading import ReadError, read_json, regular_size, shown
from hnexport.records import from_json

__all__ = ["Case", "read_case", "write_case"]

SCHEMA = "hnexport-parity-case"
MAX_FACTS_BYTES = 2**20


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


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the JSON file holds."""

    bundle: str
    artifact: str
    runtime: str
    member: int
    eager_error: float


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
        value = read_json(path.with_suffix(".json"), MAX_FACTS_BYTES)
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise ParityError(f"{path} is not a failing case: its schema is not {SCHEMA!r}")
        facts = from_json(_Facts, value)
        tensors = _read_tensors(path.with_suffix(".safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        raise ParityError(f"{path} cannot be read as a failing case: {error}") from error
    known: dict[str, Any] = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
    return Case(**known, **tensors)


def _read_tensors(path: Path) -> dict[str, Any]:
    """Images, reference and found logits, once their shapes in the header fit each other.

    Raises:
        ReadError: it is no regular file, or holds other tensors than `write_case` writes.
    """
    regular_size(path)
    with safe_open(path, framework="numpy") as file:
        names = sorted(file.keys())
        if names != ["found", "images", "reference"]:
            raise ReadError(f"{path} holds the tensors {shown(names)}, expected found, images and reference")
        slices = {name: file.get_slice(name) for name in names}
        shapes = {name: list(part.get_shape()) for name, part in slices.items()}
        batch = shapes["images"][0] if shapes["images"] else 0
        reference = shapes["reference"]
        if not batch or len(reference) != 2 or reference[0] != batch or shapes["found"] != reference:
            raise ReadError(f"{path}: the shapes {shapes} do not fit each other")
        if slices["reference"].get_dtype() != "F64" or slices["images"].get_dtype() not in ("F32", "U8"):
            raise ReadError(f"{path}: expected images in float32 or uint8, and a reference in float64")
        return {name: file.get_tensor(name) for name in names}
