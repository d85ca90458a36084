"""`report.html`: what parity found, as one page that needs nothing else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import FileRecord, Manifest
from hnexport.bundle.summary import reference_line
from hnexport.names import PAGE_FILE
from hnexport.pages import page
from hnexport.parity.depth import DepthProfile
from hnexport.parity.not_run import remarks
from hnexport.parity.results import ParityReport
from hnexport.spec import OutputKind, OutputSpec, Signature

__all__ = ["report_page", "write_page"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 760, 260, 58, 34, 12


@dataclass(frozen=True, kw_only=True)
class _Cell:
    text: str
    heat: int
    passed: bool


@dataclass(frozen=True, kw_only=True)
class _Output:
    """One output of one artifact: the worst of its members."""

    artifact: str
    name: str
    error: float
    multiple: float
    ill: int
    passed: bool


@dataclass(frozen=True, kw_only=True)
class _Tick:
    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class _Line:
    name: str
    points: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class _Bar:
    x: float
    y: float
    width: float
    height: float
    label: str


def report_page(
    report: ParityReport,
    manifest: Manifest,
    golden: Golden,
    depth: DepthProfile | None,
    files: Mapping[str, FileRecord],
) -> str:
    """The page as HTML: no scripts, nothing loaded from elsewhere, light and dark."""
    return page(
        "hnexport.parity",
        "report.html",
        report=report,
        manifest=manifest,
        files=files,
        heat=_heat_map(report),
        depth=None if depth is None else _depth_chart(depth),
        margins=_margin_chart(golden, report, manifest.signature),
        ranges={name: f"{least:.3g} to {most:.3g}" for name, (least, most) in report.ranges.items()},
        outputs=_outputs(report),
        frame={"width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "bottom": _HEIGHT - _BOTTOM, "top": _TOP},
        power=lambda value: f"{value:.1e}",
        remarks=remarks(report.not_run),
        reference=reference_line(manifest),
        packages=sorted(manifest.versions.items()),
    )


def _heat_map(report: ParityReport) -> list[tuple[int, list[_Cell]]]:
    """A row for each member: float32 eager, then the artifacts."""
    rows = []
    for position, member in enumerate(report.members_checked):
        cells = [_cell(report.eager[position], report.tolerance.relative_l2, passed=True)]
        for artifact in report.artifacts:
            item = artifact.comparisons[position]
            cells.append(_cell(item.relative_l2, report.tolerance.relative_l2, passed=item.passed))
        rows.append((member, cells))
    return rows


def _outputs(report: ParityReport) -> list[_Output]:
    """Each output of each artifact, where there are several."""
    rows = []
    for artifact in report.artifacts:
        names = dict.fromkeys(item.output for one in artifact.comparisons for item in one.outputs)
        for name in names if len(names) > 1 else ():
            found = [item for one in artifact.comparisons for item in one.outputs if item.output == name]
            rows.append(
                _Output(
                    artifact=artifact.artifact,
                    name=name,
                    error=max(item.relative_l2 for item in found),
                    multiple=max(item.multiple_of_eager for item in found),
                    ill=max(item.ill_conditioned for item in found),
                    passed=all(item.passed for item in found),
                )
            )
    return rows


def _cell(error: float, tolerance: float, *, passed: bool) -> _Cell:
    """Heat 0 at a hundredth of the tolerance, 100 at the tolerance."""
    heat = 100 if not math.isfinite(error) else round(100 * (1 + math.log10(max(error, 1e-30) / tolerance) / 2))
    return _Cell(text=f"{error:.1e}", heat=min(max(heat, 0), 100), passed=passed)


def _log_ticks(low: int, high: int, *, along: str) -> list[_Tick]:
    step = max(1, math.ceil((high - low) / 6))
    ticks = []
    for power in range(low, high + 1, step):
        share = (power - low) / (high - low)
        at = _y(share) if along == "y" else _x(share)
        ticks.append(_Tick(at=round(at, 1), label=f"1e{power}"))
    return ticks


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - 12)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def _depth_chart(depth: DepthProfile) -> dict[str, object]:
    """Error along the network, logarithmic, a line for each series."""
    known = [error for series in depth.errors.values() for error in series if error]
    low, high = _decades(known)
    count = max(len(depth.places) - 1, 1)
    lines = []
    for name, series in depth.errors.items():
        places = [(i, error) for i, error in enumerate(series) if error and _has_logarithm(error)]
        points = [(_x(i / count), _y((math.log10(error) - low) / (high - low))) for i, error in places]
        if points:
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            lines.append(_Line(name=name, points=text, x=points[-1][0], y=points[-1][1]))
    stems: dict[str, list[int]] = {}
    for i, place in enumerate(depth.places):  # one label for each group of layers, at its middle
        stems.setdefault(place.partition(".")[0], []).append(i)
    shown = {name: sum(held) / len(held) for name, held in stems.items() if name not in ("preprocess", "norm", "pool")}
    labels = [_Tick(at=round(_x(middle / count), 1), label=name) for name, middle in shown.items()]
    return {"lines": lines, "ticks": _log_ticks(low, high, along="y"), "labels": labels, "member": depth.member}


def _margin_chart(golden: Golden, report: ParityReport, signature: Signature) -> dict[str, object] | None:
    """How far the two largest logits are apart, relative to the row, and the largest error found beside them.

    None where no output is logits of at least two classes.
    """
    gaps = np.concatenate([np.zeros(0), *(_gaps(golden.outputs[o.name], o) for o in signature.outputs)])
    if not gaps.size:
        return None
    worst = max((artifact.worst.relative_l2 for artifact in report.artifacts), default=1e-12)
    low, high = _decades([*gaps.tolist(), worst])
    counts, edges = np.histogram(np.log10(gaps), bins=4 * (high - low), range=(low, high))
    most = max(int(counts.max()), 1)
    bars = []
    for count, start, stop in zip(counts.tolist(), edges, edges[1:], strict=False):
        if count:
            x, right = _x((start - low) / (high - low)), _x((stop - low) / (high - low))
            y = _y(0.92 * count / most)
            bars.append(_Bar(x=x + 1, y=y, width=right - x - 2, height=_y(0) - y, label=str(count)))
    line = _x((math.log10(worst) - low) / (high - low)) if _has_logarithm(worst) else None
    return {"bars": bars, "ticks": _log_ticks(low, high, along="x"), "line": line, "rows": len(gaps), "worst": worst}


def _gaps(known: NDArray[np.generic], output: OutputSpec) -> NDArray[np.float64]:
    """Of each row of logits, how far the two largest are apart, over the row's norm."""
    if output.kind is not OutputKind.LOGITS or known.shape[(output.axis or 0) + 1] < 2:
        return np.zeros(0)
    rows = np.moveaxis(known.astype(np.float64), (output.axis or 0) + 1, -1)
    highest, norms = np.sort(rows, axis=-1), np.linalg.norm(rows, axis=-1)
    gaps = (highest[..., -1] - highest[..., -2]) / np.maximum(norms, np.finfo(np.float64).tiny)
    return np.asarray(np.maximum(gaps.reshape(-1), 1e-12))


def _has_logarithm(error: float) -> bool:
    return 0.0 < error < math.inf


def _decades(values: list[float]) -> tuple[int, int]:
    """The powers of ten between which all lie that a logarithmic axis can show."""
    shown = [value for value in values if _has_logarithm(value)]
    if not shown:
        return -8, -5
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)))
    return (low, high) if high - low >= 2 else (low - 1, high + 1)


def write_page(
    folder: Path, report: ParityReport, manifest: Manifest, golden: Golden, depth: DepthProfile | None
) -> None:
    """Write `report.html` into a bundle folder; the manifest's files are listed in it."""
    content = report_page(report, manifest, golden, depth, manifest.files)
    (folder / PAGE_FILE).write_text(content, encoding="utf-8", newline="\n")
