"""The documents that have a schema: what they are called, what they are made of, and who reads them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnexport.bench.results import BenchReport
from hnexport.bundle.golden import GoldenDescription
from hnexport.bundle.manifest import Manifest
from hnexport.bundle.version1 import Manifest1
from hnexport.evaluate.results import Evaluation
from hnexport.names import DOCUMENTATION
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.foreign import GoldenIndex
from hnexport.score.plan import Plan
from schemas.families import SPECIAL
from schemas.printed import PRINTED
from schemas.records import Records, Schema

__all__ = ["DIALECT", "DOCUMENTS", "ROOT", "Document", "example", "schema_of"]

ROOT = Path(__file__).parents[2]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One kind of JSON.

    Attributes:
        title: of the schema and of its page.
        text: what it is and where it is found, one paragraph of Markdown.
        root: makes the schema of the whole, and its definitions in the records that it is given.
        written: see `Records`.
        since: the version of hnexport that had it first.
    """

    title: str
    text: str
    root: Callable[[Records], Schema]
    written: bool = True
    since: str = "0.2"


def _record(kind: type, *required: str) -> Callable[[Records], Schema]:
    """The schema of a record; what is `required` besides, a reader looks for before it reads the record."""

    def made(records: Records) -> Schema:
        schema = records.fields(kind)
        return {**schema, "required": [*required, *(name for name in schema["required"] if name not in required)]}

    return made


def _version1(records: Records) -> Schema:
    schema = _record(Manifest1, "schema", "schema_version")(records)
    schema["properties"]["spec"] = {**schema["properties"]["spec"], **records.of(PipelineSpec)}
    for key in ("type", "additionalProperties"):
        del schema["properties"]["spec"][key]
    return schema


def _evaluation(records: Records) -> Schema:
    schema = records.fields(Evaluation)
    derived = {
        "description": "With `--out`: the digest of the bundle that was derived.",
        "type": "string",
    }
    return {**schema, "properties": {**schema["properties"], "derived": derived}}


DOCUMENTS: Mapping[str, Document] = {
    "manifest": Document(
        title="manifest.json",
        text="What a bundle holds, how to call it, and the checksum of every file: `manifest.json` of a bundle.",
        root=_record(Manifest, "schema", "schema_version"),
        written=False,
        since="0.1",
    ),
    "manifest-1": Document(
        title="manifest.json, version 1",
        text="`manifest.json` as hnexport 0.1 wrote it, of Wide ResNets alone. It is read, and no longer written: the "
        "specification gives inputs, outputs, slots and stored tensors.",
        root=_version1,
        written=False,
        since="0.1",
    ),
    "golden-metadata": Document(
        title="Metadata of golden.safetensors",
        text="What the golden samples are: JSON in the metadata `hnexport.golden` of a bundle's `golden.safetensors`.",
        root=_record(GoldenDescription),
        written=False,
        since="0.1",
    ),
    "golden": Document(
        title="golden.json",
        text="What to run in a runtime of your own, and which files to write: `golden.json` in the folder that "
        "`hnexport golden` makes.",
        root=_record(GoldenIndex),
        written=False,
        since="0.1",
    ),
    "evaluate": Document(
        title="hnexport evaluate --json",
        text="What a bundle is worth on data. `hnexport card --evaluation` reads it again.",
        root=_evaluation,
        written=False,
    ),
    "bench": Document(
        title="hnexport bench --json",
        text="How long a bundle takes beside the plain network. `hnexport evaluate --costs` reads it again.",
        root=_record(BenchReport),
        written=False,
    ),
    "predictions": Document(
        title="Metadata of predictions",
        text="What was scored and how: JSON in the metadata `hnexport` of the file of `hnexport predict --out`, "
        "and `plan.json` beside parts that are not finished.",
        root=_record(Plan),
        written=False,
    ),
    **{name: Document(**vars(one)) for name, one in PRINTED.items()},
}


def schema_of(name: str) -> Schema:
    """The schema of a document, whole."""
    document = DOCUMENTS[name]
    records = Records(written=document.written, special=SPECIAL)
    root = document.root(records)
    return {
        "$schema": DIALECT,
        "$id": f"{DOCUMENTATION}reference/schemas/{name}.schema.json",
        "$comment": "made by `make schemas`",
        "title": document.title,
        **root,
        "description": document.text.replace("`", ""),
        **({"$defs": dict(sorted(records.defs.items()))} if records.defs else {}),
        "examples": [example(name)],
    }


def example(name: str) -> Any:
    """An example of a document."""
    return json.loads((_EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
