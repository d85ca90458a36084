"""Renderings of a parity report."""

import math
from typing import Any

from hnexport.parity.locate import LocateReport
from hnexport.parity.results import ParityReport
from hnexport.records import to_json

__all__ = ["REPORT_SCHEMA_VERSION", "locate_json", "report_json"]

REPORT_SCHEMA_VERSION = 1


def report_json(report: ParityReport) -> dict[str, Any]:
    """The report as JSON values; JSON has no infinity and no NaN, so errors that are not finite are null."""
    value: dict[str, Any] = _finite(to_json(report))
    for artifact, rendered in zip(report.artifacts, value["artifacts"], strict=True):
        rendered["passed"] = artifact.passed
    found = {"passed": report.passed, "verdict": report.verdict.value, "sampled": report.sampled}
    return {"schema": "hnexport-parity", "schema_version": REPORT_SCHEMA_VERSION, **found, **value}


def locate_json(report: LocateReport) -> dict[str, Any]:
    """What `locate` found, as JSON values."""
    value: dict[str, Any] = _finite(to_json(report))
    return {"schema": "hnexport-locate", "schema_version": REPORT_SCHEMA_VERSION, "stage": report.stage, **value}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
