"""JSON Schemas (draft 2020-12) of everything that hnexport writes as JSON. Standard library only.

They lie beside this file as `NAME.schema.json`, made by `make schemas` from the records that are read and written.
"""

import json
from importlib.resources import files
from typing import Any

from hnexport.errors import SpecError

__all__ = ["names", "schema"]

_SUFFIX = ".schema.json"


def names() -> tuple[str, ...]:
    """The names of all schemas, in alphabetical order: `manifest`, `parity`, …."""
    found = (path.name for path in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


def schema(name: str) -> dict[str, Any]:
    """A schema by its name, as JSON values.

    Raises:
        SpecError: there is none of this name.
    """
    if name not in names():
        raise SpecError(f"there is no schema {name!r}, only {', '.join(names())}")
    found: dict[str, Any] = json.loads((files(__name__) / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return found
