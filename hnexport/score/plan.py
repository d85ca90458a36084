"""What is scored and how, as data: it stands in the parts and in the file, and nothing else may be added to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hnexport import __version__
from hnexport.bundle.manifest import Identified, Manifest
from hnexport.datasets.sizes import samples_at_once
from hnexport.images import distinct
from hnexport.members import check_members
from hnexport.records import RecordError, from_json, to_json
from hnexport.runtime.anytime import BUNDLE, bundle_rule
from hnexport.runtime.until import as_until
from hnexport.score.options import ScoreOptions
from hnexport.score.samples import Source
from hnexport.spec import OutputKind

__all__ = ["METADATA_KEY", "SCHEMA", "Part", "Plan", "difference", "make_plan", "parsed"]

SCHEMA = "hnexport-predictions"
SCHEMA_VERSION = 1
METADATA_KEY = b"hnexport"
"""Under this name a Parquet file of ours holds its plan."""
_BATCH_ROWS = 32
_HELD_AT_ONCE = 4  # a batch, the one that is read ahead, and what they were made of


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows from `start` to before `stop`."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what is in a row, and how rows are cut into parts.

    Attributes:
        bundle, digest: its name, and which one it is.
        members: those that are asked, in this order.
        until: the rule by which they are enough; None asks all.
        engine, provider, precision, strategy: what computes, and how; other strategies round differently.
        pictures: how pictures become inputs.
        class_names: by output of logits.
        member_outputs: whether what each member says is written.
        source, rows, fingerprint, identifier: of the source; see there.
        part_rows, batch_rows: rows of a part, and of one call.
        schema: what this is.
        schema_version: of what this is.
        version: of hnexport; a run that goes on may be of another one.
    """

    bundle: str
    digest: str
    members: tuple[int, ...]
    until: str | None
    engine: str
    provider: str
    precision: str
    strategy: str
    pictures: Mapping[str, Any]
    class_names: Mapping[str, tuple[str, ...]]
    member_outputs: bool
    source: str
    rows: int
    fingerprint: str
    identifier: str
    part_rows: int
    batch_rows: int
    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
    version: str = __version__

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, in order."""
        starts = range(0, self.rows, self.part_rows)
        return tuple(
            Part(number=number, start=start, stop=min(start + self.part_rows, self.rows))
            for number, start in enumerate(starts)
        )

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(to_json(self), sort_keys=True)


def make_plan(
    identified: Identified, source: Source, options: ScoreOptions, *, provider: str, precision: str, strategy: str
) -> Plan:
    """The plan of a call.

    Args:
        provider, precision, strategy: those that run, where `auto` was asked for.

    Raises:
        RuntimeInputError: a member does not exist, or an option has a value that it cannot have.
    """
    manifest = identified.manifest
    said = {name: distinct(names) for name, names in manifest.usage.class_names.items()} | dict(options.class_names)
    logits = [one.name for one in manifest.outputs if one.kind is OutputKind.LOGITS]
    return Plan(
        bundle=manifest.name,
        digest=identified.digest,
        members=_members(options, manifest),
        until=_until_text(options.until),
        engine=options.engine,
        provider=provider,
        precision=precision,
        strategy=strategy,
        pictures=_pictures(source, options),
        class_names={name: tuple(said[name]) for name in logits if said.get(name)},
        member_outputs=options.member_outputs,
        source=source.kind,
        rows=source.rows,
        fingerprint=source.fingerprint,
        identifier=source.identifier,
        part_rows=options.part_rows,
        batch_rows=max(1, min(_BATCH_ROWS, options.part_rows, samples_at_once(manifest.signature) // _HELD_AT_ONCE)),
    )


def _members(options: ScoreOptions, manifest: Manifest) -> tuple[int, ...]:
    """In the order in which they are asked."""
    members = "all" if options.members is None else options.members
    if options.until == BUNDLE:
        return bundle_rule(manifest, members)[1]
    return check_members(members, manifest.members)


def _until_text(until: Any) -> str | None:
    if until is None or isinstance(until, str):
        return until
    rule = as_until(until)
    text = rule.text if rule.confidence is None else repr(rule.confidence)  # every digit
    return text if rule.least == 1 else f"{text}, of at least {rule.least}"


def _pictures(source: Source, options: ScoreOptions) -> dict[str, Any]:
    if source.normalised is None:
        return {}
    told = {name: options.pictures.get(name) for name in ("resize", "background", "frame")}
    return {**to_json(told), "normalisation": to_json(source.normalised)}


def parsed(text: str | bytes) -> Plan | None:
    """The plan that a file holds; None where it is none of ours."""
    try:
        found = from_json(Plan, json.loads(text))
    except (RecordError, ValueError):
        return None
    return found if (found.schema, found.schema_version) == (SCHEMA, SCHEMA_VERSION) else None


def difference(before: Plan, now: Plan) -> str:
    """What a plan has that another has not, in words; "" where the rows would be the same."""
    for one in fields(Plan):
        was, becomes = (to_json(getattr(plan, one.name)) for plan in (before, now))
        if one.name != "version" and was != becomes:
            return (
                _WORDS.get(one.name, one.name.replace("_", " "))
                + f" {_short(was)}, and this call says {_short(becomes)}"
            )
    return ""


_WORDS = {"fingerprint": "data that have changed since,", "rows": "rows:"}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"
