"""Whatever tests write or print as JSON is held against its schema."""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from safetensors import safe_open

from hnexport.schemas import schema

__all__ = ["check_bundle", "check_document", "check_printed", "validator"]

_SUBJECTS = {"verify": "parity", "deploy": "deploy-triton"}


@functools.cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name))


def check_document(name: str, value: Any) -> None:
    """Fail where a value is not what its schema says; the message names the place."""
    error = next(iter(validator(name).iter_errors(value)), None)
    if error is not None:
        raise AssertionError(f"no {name} by its schema: {_told(error)}")


def check_bundle(folder: Path) -> None:
    """Manifest, report and what is said of the golden samples, of a bundle that this hnexport wrote."""
    check_document("manifest", json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    check_document("parity", json.loads((folder / "parity.json").read_text(encoding="utf-8")))
    with safe_open(folder / "golden.safetensors", framework="numpy") as file:
        check_document("golden-metadata", json.loads(file.metadata()["hnexport.golden"]))


def check_printed(arguments: tuple[object, ...], text: str) -> None:
    """What a command printed with `--json`: its own kind, or a parity report where something differed."""
    words = [str(one) for one in arguments]
    if "--json" not in words or not text.strip():
        return
    value = json.loads(text)
    command = next((word for word in words if not word.startswith("-")), "")
    if isinstance(value, dict) and value.get("schema") == "hnexport-parity":
        command = "parity"
    elif "--replay" in words:
        command = "replay"
    check_document(_SUBJECTS.get(command, command), value)


def _told(error: ValidationError) -> str:
    while error.context:  # the choice that got furthest
        error = max(error.context, key=lambda one: (len(one.absolute_path), -len(one.schema_path)))
    return f"{error.json_path}: {error.message[:300]}"
