"""Members one after the other, and for each sample no more of them than it takes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.rows import batch_size, taken
from hnexport.runtime.residents import Arrays
from hnexport.runtime.uncertainty import AnytimePrediction, summarise
from hnexport.runtime.until import Tally, Until
from hnexport.spec import BATCH, OutputKind, Signature
from hnexport.spec.precision import Precision

__all__ = ["BUNDLE", "bundle_rule", "can_stop", "check_anytime", "chosen_elsewhere", "predict_until"]

BUNDLE = "bundle"
"""Stands for the rule and the order of members that the manifest says."""


def can_stop(signature: Signature) -> bool:
    """Whether the members of such a network can be asked one after the other."""
    return _obstacle(signature) is None


def check_anytime(signature: Signature) -> None:
    """Refuse a network of which nobody can say when its members are enough.

    Raises:
        RuntimeInputError: it has several outputs, or another one than logits `[batch, class]`.
    """
    reason = _obstacle(signature)
    if reason is not None:
        raise RuntimeInputError(
            f"until is for networks whose only output is logits [batch, class], {reason}: leave it out, all members run"
        )


def bundle_rule(manifest: Manifest, members: Any = "all") -> tuple[Until, tuple[int, ...]]:
    """The rule that the bundle says, and its members in their order.

    Args:
        members: as the caller gave them: the bundle has an order of its own.

    Raises:
        RuntimeInputError: the bundle says none, or the caller wants other members.
    """
    found, said = manifest.anytime, f"the rule {BUNDLE!r}"  # as a request of a service says it too
    if found is None:
        raise RuntimeInputError(
            f"{said} is for a bundle that says when its members are enough, {manifest.name} does not: `hnexport "
            "evaluate BUNDLE HELD_OUT --out NEW --max-accuracy-drop 0.005` derives one that does"
        )
    if not (isinstance(members, str) and members == "all"):
        raise RuntimeInputError(
            f"{said} asks all members in the bundle's own order, {', '.join(map(str, found.order))}: name none"
        )
    return Until(confidence=found.confidence, least=found.least), found.order


def chosen_elsewhere(manifest: Manifest, precision: Precision) -> str:
    """That the bundle's rule was chosen on the answers of another arithmetic; "" where it was not."""
    found = manifest.anytime
    if found is None or found.precision is precision:
        return ""
    chosen, asked = found.precision.value, precision.value
    return (
        f"the bundle's rule was chosen on answers in {chosen}, these are in {asked}: what it costs was not measured "
        f"for them; ask in {chosen}, or choose one on answers in {asked}"
    )


def _obstacle(signature: Signature) -> str | None:
    only = signature.outputs[0]
    if len(signature.outputs) > 1:
        return f"this one has the outputs {', '.join(output.name for output in signature.outputs)}"
    if only.kind is not OutputKind.LOGITS:
        return f"{only.name} is a value"
    if len(only.shape) != 2 or only.shape[0] != BATCH or only.axis != 1:
        return f"{only.name} has shape [{', '.join(map(str, only.shape))}], classes along axis {only.axis}"
    if not any(item.has_batch for item in signature.inputs):
        return "no input has a batch axis"
    return None


def predict_until(
    run: Callable[[int, Arrays], Arrays],
    signature: Signature,
    members: Sequence[int],
    inputs: Arrays,
    until: Until,
) -> AnytimePrediction:
    """Each member gets the samples that need more than those before it.

    Args:
        run: the outputs of a member, of some samples.
        members: in the order in which they are asked.
        inputs: checked, of a signature that passes `check_anytime`.
    """
    output = signature.outputs[0].name
    count = batch_size(signature, inputs)
    open_rows, used = np.arange(count), np.full(count, len(members), np.int64)
    stacked: NDArray[np.floating] | None = None
    tally: Tally | None = None
    for position, member in enumerate(members):
        logits: NDArray[np.floating] = run(member, inputs)[output]  # type: ignore[assignment]  # logits are floating
        if stacked is None or tally is None:
            stacked = np.full((len(members), *logits.shape), np.nan, logits.dtype)
            tally = Tally(*logits.shape)
        stacked[position, open_rows] = logits
        tally.add(logits)
        holds = until.holds(tally, len(members))
        used[open_rows[holds]] = position + 1
        if holds.all():
            break
        if holds.any():
            rest = ~holds
            open_rows, inputs = open_rows[rest], taken(signature, inputs, np.flatnonzero(rest))  # type: ignore[arg-type]
            tally.keep(rest)
    if stacked is None:
        raise RuntimeError("no member was asked")
    return _of_used(stacked, tuple(members), used)


def _of_used(logits: NDArray[np.floating], members: tuple[int, ...], used: NDArray[np.int64]) -> AnytimePrediction:
    """What is said of each sample's own members."""
    _, count, classes = logits.shape
    probabilities, votes = np.empty((count, classes), np.float64), np.empty((count, classes), np.int64)
    entropy, information = np.empty(count, np.float64), np.empty(count, np.float64)
    for number in np.unique(used):
        rows = used == number
        found = summarise(logits[:number, rows])
        probabilities[rows], votes[rows] = found.probabilities, found.votes
        entropy[rows], information[rows] = found.predictive_entropy, found.mutual_information
    return AnytimePrediction(
        members=members,
        logits=logits if logits.dtype == np.float64 else logits.astype(np.float32, copy=False),
        probabilities=probabilities,
        predictive_entropy=entropy,
        mutual_information=information,
        votes=votes,
        members_used=used,
    )
