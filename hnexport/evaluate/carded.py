"""An evaluation as a bundle's card shows it, and which evaluations belong to a bundle."""

import math
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from hnexport.bundle.manifest import Identified, Manifest
from hnexport.card import Measured, Score, Table
from hnexport.errors import RuntimeInputError
from hnexport.evaluate.curves import curves
from hnexport.evaluate.measures import Scores
from hnexport.evaluate.page import NAMES
from hnexport.evaluate.results import Classification, Evaluation, Regression, SourceEvaluation
from hnexport.reading import ReadError, read_json
from hnexport.records import RecordError, from_json

__all__ = ["measured", "measured_for", "read_evaluation"]

_MOST_BYTES = 2**27
_MOST_MEMBERS = 32  # rows of a table
_CARDED = ("bundle", "exact", "0.9", "0.99", "all")
_STOPPING = (
    'Members one after the other, predict_mean(…, until=…): "exact" until the rest cannot change the answer, a number '
    "until a class has that mean probability."
)
_NAMES = {"accuracy": "Accuracy", "nll": "NLL", "brier": "Brier score", "ece": "Expected calibration error"}
_METRICS = {"accuracy": "accuracy", "nll": "nll", "brier": "brier_score", "ece": "expected_calibration_error"}


def read_evaluation(path: Path) -> Evaluation:
    """What `hnexport evaluate --json` printed into a file.

    Raises:
        RuntimeInputError: it is something else.
    """
    try:
        value: Any = read_json(path, _MOST_BYTES)
        if isinstance(value, dict):
            value.pop("derived", None)
        found = from_json(Evaluation, value)
    except (ReadError, RecordError) as error:
        raise RuntimeInputError(f"{path} is not what `hnexport evaluate --json` prints: {error}") from error
    if wrong := _contradiction(found):
        raise RuntimeInputError(f"{path} is not what `hnexport evaluate --json` prints: {wrong}")
    return found


def _contradiction(found: Evaluation) -> str:
    """What no evaluation can say; "" where there is none of that."""
    if not found.sources or not found.members or min(found.samples, found.bins) < 1:
        return "it has no sources, members, samples or bins"
    for source in found.sources:
        logits, value = source.classification, source.regression
        part = value if logits is None else logits
        if part is None or (logits is not None and value is not None):
            return f"{source.name} is evaluated as neither logits nor a value, or as both"
        if len(part.each) != len(found.members) or (value is not None and len(value.each_absolute) != len(value.each)):
            return f"{source.name} has {len(part.each)} members, it says {len(found.members)}"
        if logits is not None and not all(0 <= one.accuracy <= 1 for one in (*logits.each, logits.ensemble)):
            return f"an accuracy of {source.name} is no share"
    return ""


def measured_for(found: Identified, evaluation: Evaluation, path: Path) -> Measured:
    """An evaluation of this very bundle, or the one in which its temperature was fitted, or when members are enough.

    Raises:
        RuntimeInputError: it is of another bundle.
    """
    is_origin = _is_origin(found.manifest, evaluation)
    if evaluation.digest != found.digest and not is_origin:
        raise RuntimeInputError(
            f"{path} is an evaluation of {evaluation.bundle}, {evaluation.digest}; this bundle is "
            f"{found.manifest.name}, {found.digest}: evaluate it"
        )
    known = [output.name for output in found.manifest.outputs]
    if evaluation.output not in known:
        raise RuntimeInputError(f"{path} is of the output {evaluation.output!r}, this bundle has {', '.join(known)}")
    return measured(evaluation, fitted_here=is_origin)


def _is_origin(manifest: Manifest, evaluation: Evaluation) -> bool:
    """Whether everything that was fitted in an evaluation is what a bundle has."""
    fitted, chosen, digest = evaluation.temperature, evaluation.until, evaluation.digest
    temperature, anytime = manifest.temperature, manifest.anytime
    same = []
    if fitted is not None:
        same.append(temperature is not None and (temperature.source, temperature.value) == (digest, fitted.value))
    if chosen is not None:
        own = digest, chosen.order, chosen.confidence, chosen.least
        same.append(anytime is not None and (anytime.source, anytime.order, anytime.confidence, anytime.least) == own)
    return bool(same) and all(same)


def measured(evaluation: Evaluation, *, fitted_here: bool = True) -> Measured:
    """An evaluation for a card.

    Args:
        fitted_here: where something was fitted, the card is that of the bundle which has it: what was measured on the
            very data that it was fitted on is shown as that, and is no score.
    """
    source = next((one for one in evaluation.sources if one.name == "runtime"), evaluation.sources[0])
    data = _last_part(evaluation.data)
    if fitted_here and (evaluation.temperature is not None or evaluation.until is not None):
        return _fitted(evaluation, data)
    logits, value = source.classification, source.regression
    tables, remarks, scores = [], [f"Computed by {source.runtime}."], tuple[Score, ...]()
    if logits is not None:
        tables.append(_classified(evaluation, logits))
        remarks += _uncertainty(logits, _foreign(evaluation))
        scores = _scores(logits.ensemble)
    elif value is not None:
        tables.append(_regressed(evaluation, value))
        scores = _value_scores(value)
        if value.ood is not None:
            remarks.append(f"AUROC of {_foreign(evaluation)}, by deviation: {value.ood.auroc:.4f}.")
    if len(evaluation.sources) > 1:
        tables.append(_side_by_side(evaluation.sources))
    stopping = _stopping(evaluation)
    if stopping is not None:
        tables.append(stopping)
        remarks.append(
            _STOPPING
            + f" Changed are answers that are others than those of all members, of {evaluation.sources[0].name}."
            + (f" Cost: plain float32 runs a row, of {evaluation.costs}." * bool(evaluation.costs))
        )
    return Measured(
        data=data,
        samples=evaluation.samples,
        output=evaluation.output,
        tables=tuple(tables),
        remarks=tuple(remarks),
        scores=scores,
    )


def _last_part(place: str) -> str:
    """A path without its folders, which are nobody's business."""
    return PureWindowsPath(place).name or "data"


def _numbers(scores: Scores) -> tuple[str, ...]:
    return tuple(f"{number:.4f}" for number in (scores.accuracy, scores.nll, scores.brier, scores.ece))


def _columns(bins: int) -> tuple[str, ...]:
    return ("", "accuracy", "NLL, nats", "Brier", f"ECE, {bins} bins")


def _classified(evaluation: Evaluation, part: Classification) -> Table:
    rows = [(f"member {number}", *_numbers(one)) for number, one in zip(evaluation.members, part.each, strict=True)]
    rows = rows[:_MOST_MEMBERS]
    if len(part.each) > 1:
        rows += [("members' mean", *_numbers(part.mean)), ("ensemble", *_numbers(part.ensemble))]
    return Table(columns=_columns(evaluation.bins), rows=tuple(rows))


def _regressed(evaluation: Evaluation, part: Regression) -> Table:
    pairs = zip(evaluation.members, part.each, part.each_absolute, strict=True)
    rows = [(f"member {number}", f"{rmse:.5g}", f"{absolute:.5g}", "") for number, rmse, absolute in pairs]
    rows = rows[:_MOST_MEMBERS]
    if len(part.each) > 1:
        rows.append(("ensemble", f"{part.rmse:.5g}", f"{part.crps_members:.5g}", _number(part.nll)))
    return Table(columns=("", "RMSE", "CRPS", "normal NLL, nats"), rows=tuple(rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _foreign(evaluation: Evaluation) -> str:
    return f"{evaluation.ood_samples:,} samples of {_last_part(evaluation.ood)}, which do not belong"


def _uncertainty(part: Classification, foreign: str) -> list[str]:
    if len(part.each) < 2:
        return []
    held = part.diversity
    found = [
        f"Two members answer differently on {held.disagreement:.1%}, all agree on {held.all_agree:.1%}, at least one "
        f"is right on {held.any_right:.1%}."
    ]
    for separations, what in ((part.ood, foreign), (part.wrong, "wrong answers")):
        if separations:
            found.append(f"AUROC of {what}: {_separated(separations)}.")
    return found


def _separated(separations: Mapping[str, Any]) -> str:
    return ", ".join(f"{one.auroc:.4f} by {NAMES.get(name, name)}" for name, one in separations.items())


def _side_by_side(sources: tuple[SourceEvaluation, ...]) -> Table:
    """The ensemble in every source, and how far it is from the first."""
    rows = []
    for source in sources:
        difference = source.difference
        apart = ("", "") if difference is None else (f"{difference.probabilities:.1e}", str(difference.answers))
        rows.append((source.name, source.runtime, _first_score(source), *apart))
    score = "accuracy" if sources[0].classification is not None else "RMSE"
    columns = ("source", "runtime", f"ensemble's {score}", f"furthest from {sources[0].name}", "answers that differ")
    return Table(columns=columns, rows=tuple(rows))


def _first_score(source: SourceEvaluation) -> str:
    if source.classification is not None:
        return f"{source.classification.ensemble.accuracy:.4f}"
    return "" if source.regression is None else f"{source.regression.rmse:.5g}"


def _stopping(evaluation: Evaluation) -> Table | None:
    """What stopping costs in each precision, by the rules that a card has room for; None of one member alone."""
    rows = []
    for source in curves(evaluation):
        cost = source.member_cost
        for one in source.classification.stopped if source.classification is not None else ():
            if one.until in _CARDED:
                scores = f"{one.scores.accuracy:.4f}", f"{one.scores.nll:.4f}", f"{one.scores.ece:.4f}"
                price = "" if cost is None else f"{one.members * cost:.3f}"
                rows.append((source.precision, one.until, f"{one.members:.3f}", price, *scores, str(one.changed)))
    columns = ("precision", "until", "members a row", "cost", "accuracy", "NLL, nats", "ECE", "answers changed")
    return Table(columns=columns, rows=tuple(rows)) if rows else None


def _fitted(evaluation: Evaluation, data: str) -> Measured:
    """What was fitted, on the very data that it was fitted on."""
    fitted, chosen = evaluation.temperature, evaluation.until
    rows, remarks = [], []
    if fitted is not None:
        rows += [
            ("ensemble, without the temperature", *_numbers(fitted.before)),
            (f"ensemble, divided by {fitted.value:.4f}", *_numbers(fitted.after)),
        ]
        remarks.append(
            f"These are the held-out data that the temperature was fitted on ({fitted.rows:,} rows), so that the "
            "second row flatters a little: evaluate this bundle on others."
        )
        if fitted.remark:
            remarks.append(_sentence(fitted.remark))
    if chosen is not None:
        stopped = f"stopped at {chosen.confidence:g}, {chosen.members:.3f} members a row, {chosen.precision}"
        rows += [("all members", *_numbers(chosen.all_scores))] * (fitted is None)
        rows.append((stopped, *_numbers(chosen.scores)))
        ordering = f", {chosen.order_rows:,} of which chose the order and the others judged" * (chosen.order_rows > 0)
        remarks.append(
            f"When members are enough was chosen on these {chosen.rows:,} rows too{ordering}: against all members, "
            f"accuracy is lower by {chosen.accuracy_drop.measured:.4f} (at most {chosen.accuracy_drop.bound:.4f}, "
            f"{chosen.level:.0%} sure), and {chosen.changed.measured:.4f} of the answers are others (at most "
            f"{chosen.changed.bound:.4f})."
        )
        if chosen.remark:
            remarks.append(_sentence(chosen.remark))
    return Measured(
        data=data,
        samples=evaluation.samples,
        output=evaluation.output,
        tables=(Table(columns=_columns(evaluation.bins), rows=tuple(rows)),),
        remarks=tuple(remarks),
    )


def _sentence(remark: str) -> str:
    return f"{remark[:1].upper()}{remark[1:]}."


def _scores(scores: Scores) -> tuple[Score, ...]:
    values = {"accuracy": scores.accuracy, "nll": scores.nll, "brier": scores.brier, "ece": scores.ece}
    return tuple(
        Score(metric=_METRICS[key], name=_NAMES[key], value=value)
        for key, value in values.items()
        if math.isfinite(value)
    )


def _value_scores(part: Regression) -> tuple[Score, ...]:
    values = {"rmse": ("RMSE", part.rmse), "crps": ("CRPS", part.crps_members)}
    return tuple(
        Score(metric=key, name=name, value=value) for key, (name, value) in values.items() if math.isfinite(value)
    )
