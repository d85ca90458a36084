"""Failing cases as files: inputs, what was expected and what was found, to be run again anywhere."""

import dataclasses
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hnexport.errors import ParityError
from hnexport.publishing import Contents, Rules, check_place, staged_file
from hnexport.reading import ReadError, read_json, regular_size, shown
from hnexport.records import from_json
from hnexport.spelling import spelled

__all__ = ["Case", "read_case", "write_case"]

SCHEMA = "hnexport-parity-case"
MAX_FACTS_BYTES = 2**20

Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One batch that failed.

    Attributes:
        inputs: by name, as the graph takes them.
        reference: by name; floating-point outputs in float64.
        found: by name, of the same shapes: what the artifact returned.
        eager: by name `[row]`: float32 eager's relative L2 error.
        noise: by name `[row]`: what float32 may lose by chance.
    """

    bundle: str
    artifact: str
    runtime: str
    member: int
    inputs: Mapping[str, Array]
    reference: Mapping[str, Array]
    found: Mapping[str, Array]
    eager: Mapping[str, NDArray[np.float64]]
    noise: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the JSON file holds."""

    bundle: str
    artifact: str
    runtime: str
    member: int


_TENSORS = ("inputs", "reference", "found", "eager", "noise")


def write_case(folder: Path, case: Case) -> Path:
    """Write `ARTIFACT-member-N.json` and its `.safetensors` into a folder, which is made where it is missing.

    An earlier case of the same name is replaced, anything else is not.

    Returns:
        The JSON file.

    Raises:
        ParityError: the folder cannot be written, or holds a file of that name that is no failing case.
    """
    path = folder / f"{Path(case.artifact).stem}-member-{case.member}.json"
    facts = {name: getattr(case, name) for name in ("bundle", "artifact", "runtime", "member")}
    tensors = {
        f"{what}.{name}": np.asarray(array, order="C")
        for what in _TENSORS
        for name, array in getattr(case, what).items()
    }
    data = path.with_suffix(".safetensors")
    for file in (path, data):
        check_place(file, _RULES)
    try:
        with staged_file(data, _RULES) as new:
            new.write_bytes(save(tensors, metadata={"schema": SCHEMA}))
        with staged_file(path, _RULES) as new:
            new.write_text(json.dumps({"schema": SCHEMA, **facts}, indent=2) + "\n", encoding="utf-8", newline="\n")
    except (OSError, SafetensorError) as error:
        raise ParityError(f"{path} cannot be written: {error}") from error
    return path


def _replaceable(path: Path) -> Contents:
    """Nothing to list, for a file that begins as either of the two of a failing case does."""
    start = b""
    if stat.S_ISREG(path.lstat().st_mode):
        with path.open("rb") as file:
            start = file.read(1024)
    schema = f'"schema":"{SCHEMA}"'.encode()
    begins = (b"".join(start.split()).startswith(b"{" + schema), start[8:].startswith(b'{"__metadata__":{' + schema))
    if not any(begins):
        raise ParityError(f"{path} exists and is not a failing case: move it away, or choose another folder")
    return Contents()


_RULES = Rules(replaces=_replaceable, error=ParityError, called="folder", what="failing case", forced_by="")


def read_case(path: Path) -> Case:
    """Read what `write_case` wrote; `path` is either of the two files.

    Raises:
        ParityError: the files are missing, damaged or something else.
    """
    try:
        value = read_json(path.with_suffix(".json"), MAX_FACTS_BYTES)
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise ParityError(f"{path} is not a failing case: its schema is not {SCHEMA!r}")
        if "eager_error" in value:
            raise ParityError(
                f"{path} is a failing case that hnexport 0.1 wrote: make it again with "
                + spelled("save_failures=…", "`hnexport verify --save-failure`")
            )
        facts = from_json(_Facts, value)
        tensors = _read_tensors(path.with_suffix(".safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        raise ParityError(f"{path} cannot be read as a failing case: {error}") from error
    known: dict[str, Any] = {field.name: getattr(facts, field.name) for field in dataclasses.fields(facts)}
    held: dict[str, Any] = dict(tensors)
    return Case(**known, **held)


def _read_tensors(path: Path) -> dict[str, dict[str, Array]]:
    """Inputs, reference and found outputs, once their shapes in the header fit each other.

    Raises:
        ReadError: it is no regular file, or holds other tensors than `write_case` writes.
    """
    regular_size(path)
    with safe_open(path, framework="numpy") as file:
        held = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        by_kind: dict[str, dict[str, Any]] = {what: {} for what in _TENSORS}
        for name, part in held.items():
            what, _, rest = name.partition(".")
            if what not in by_kind or not rest:
                raise ReadError(f"{path} holds the tensor {shown(name)}, expected {', '.join(_TENSORS)}")
            by_kind[what][rest] = part
        shapes = {
            what: {name: tuple(part.get_shape()) for name, part in parts.items()} for what, parts in by_kind.items()
        }
        if not shapes["inputs"] or not shapes["reference"] or shapes["reference"] != shapes["found"]:
            raise ReadError(f"{path}: the shapes {shown(shapes)} do not fit each other")
        if not set(shapes["eager"]) <= set(shapes["noise"]) or set(shapes["noise"]) != set(shapes["reference"]):
            raise ReadError(f"{path}: eager and noise are not those of the reference")
        return {what: {name: file.get_tensor(f"{what}.{name}") for name in parts} for what, parts in by_kind.items()}
