"""What the members say of samples, as tables: a table for each sample and output."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hnexport.cli.render import Column, Styled, Table, say, show_table
from hnexport.runtime.uncertainty import AnytimePrediction, EnsemblePrediction, EnsembleValue, taken_by
from hnexport.spec import Signature
from hnexport.text import number_of

__all__ = ["Shown", "print_predictions", "used_told"]

MOST_CLASSES = 6  # of more than that the tables show the most probable five
TOP = 5
MOST_ELEMENTS = 12  # of an output with more, the first are shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What is to be shown.

    Attributes:
        outputs: by name, in the signature's order.
        samples: their names.
        labels: by output the names of its classes, where somebody named them.
    """

    signature: Signature
    outputs: Mapping[str, EnsemblePrediction | EnsembleValue]
    samples: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_plain(self, name: str) -> bool:
        """Whether an output is logits `[batch, class]`."""
        spec = self.signature.output(name)
        return spec.has_batch and spec.axis == 1 and len(spec.shape) == 2

    def classes(self, name: str) -> tuple[str, ...]:
        """The labels of an output of logits."""
        output = self.outputs[name]
        count = output.logits.shape[output.axis] if isinstance(output, EnsemblePrediction) else 0
        return self.labels.get(name) or tuple(f"class {one}" for one in range(count))


def print_predictions(shown: Shown, *, wide: bool = False) -> None:
    """Sample by sample every output; then, once, what has no batch axis."""
    several = len(shown.outputs) > 1
    batched = [name for name in shown.outputs if shown.signature.output(name).has_batch]
    for number, sample in enumerate(shown.samples):
        for name in batched:
            _print_output(shown, name, number, f"{sample}, {name}" if several else sample, wide=wide)
    for name in shown.outputs:
        if name not in batched:
            _print_output(shown, name, None, name, wide=wide)


def _print_output(shown: Shown, name: str, number: int | None, title: str, *, wide: bool) -> None:
    output = shown.outputs[name]
    if isinstance(output, EnsembleValue):
        _print_value(output, number, title, wide=wide)
    elif number is not None and shown.is_plain(name):
        _print_logits(output, number, title, shown.classes(name), wide=wide)
    else:
        _print_positions(output, number, title, shown.classes(name), wide=wide)


def _print_logits(
    prediction: EnsemblePrediction, number: int, title: str, labels: tuple[str, ...], *, wide: bool
) -> None:
    """A row for each member that the sample took, a column for each class (the five most probable of many).

    Where lines are short, the less probable classes go first.
    """
    mean, took = prediction.probabilities[number], taken_by(prediction, number)
    several = took > 1
    order = [int(one) for one in np.argsort(-mean, kind="stable")]
    classes = order[:TOP] if len(labels) > MOST_CLASSES else list(range(len(labels)))
    columns = [Column("member", right=True), Column("predicts", wrap=True)]
    columns += [Column(labels[one], right=True, rank=order.index(one), wrap=True, folded_title=True) for one in classes]
    rows = [
        _row(str(member), prediction.member_probabilities[row, number], classes, labels)
        for row, member in enumerate(prediction.members[:took])
    ]
    members = len(rows)
    if several:
        rows.append(_row("mean", mean, classes, labels))
        rows.append(["votes", "", *(str(prediction.votes[number][one]) for one in classes)])
    show_table(Table(title=title, columns=tuple(columns), rows=rows, rules=frozenset({members})), wide=wide)
    if several:
        say(
            f"predictive entropy {prediction.predictive_entropy[number]:.3f} nats (at most {np.log(len(labels)):.3f}), "
            f"mutual information {prediction.mutual_information[number]:.3f} nats "
            f"(at most {np.log(min(took, len(labels))):.3f})"
        )
    if isinstance(prediction, AnytimePrediction):
        say(f"{took} of {number_of(len(prediction.members), 'member')}")


def used_told(outputs: Mapping[str, EnsemblePrediction | EnsembleValue]) -> str:
    """How many members several samples took; empty where each took all, or there is one."""
    (found,) = outputs.values() if len(outputs) == 1 else (None,)
    if not isinstance(found, AnytimePrediction) or len(found.members_used) == 1:
        return ""
    samples, members = len(found.members_used), len(found.members)
    return f"{samples} samples took {found.members_used.mean():.2f} of {members} members each on average"


def _row(name: str, p: NDArray[np.float64], classes: list[int], labels: tuple[str, ...]) -> list[str | Styled]:
    best = int(p.argmax()) if p.max() >= 0.0 else None  # NaN compares as false
    cells = [Styled(f"{p[one]:.1%}", "bold green") if one == best else f"{p[one]:.1%}" for one in classes]
    return [name, "nothing (NaN)" if best is None else labels[best], *cells]


def _print_value(output: EnsembleValue, number: int | None, title: str, *, wide: bool) -> None:
    """A row for each element, with mean and variance where it has them, and what each member says."""
    values = output.values if number is None else output.values[:, number]
    mean, variance = (
        None if found is None else (found if number is None else found[number])
        for found in (output.mean, output.variance)
    )
    with_mean = mean is not None and variance is not None
    rows = []
    for place in _places(values.shape[1:]):
        said = ", ".join(_number(values[(row, *place)]) for row in range(len(values)))
        numbers = (_number(mean[place]), _number(variance[place])) if mean is not None and variance is not None else ()
        rows.append((_place(place), *numbers, said))
    columns = (
        Column("element", wrap=True),
        *((Column("mean", right=True), Column("variance", right=True)) if with_mean else ()),
        Column(f"members {', '.join(map(str, output.members))}", wrap=True, folded_title=True, rank=int(with_mean)),
    )
    show_table(Table(title=title, columns=columns, rows=rows), wide=wide)
    _say_what_is_left_out(values.shape[1:])


def _print_positions(
    prediction: EnsemblePrediction, number: int | None, title: str, labels: tuple[str, ...], *, wide: bool
) -> None:
    """Logits with further axes: a row for each position, with the most probable class of the mean."""
    p = np.moveaxis(prediction.probabilities, prediction.axis, -1)
    entropy, information = prediction.predictive_entropy, prediction.mutual_information
    if number is not None:
        p, entropy, information = p[number], entropy[number], information[number]
    rows = []
    for place in _places(p.shape[:-1]):
        best = p[place].argmax()
        known = bool(np.isfinite(p[place]).all())
        predicts, probability = (labels[best], f"{p[place][best]:.1%}") if known else ("nothing (NaN)", "nan")
        rows.append((_place(place), predicts, probability, f"{entropy[place]:.3f}", f"{information[place]:.3f}"))
    columns = (
        Column("position", wrap=True),
        Column("mean predicts", wrap=True),
        Column("mean", right=True),
        Column("entropy, nats", right=True),
        Column("mutual information", right=True, rank=1),
    )
    show_table(Table(title=title, columns=columns, rows=rows), wide=wide)
    _say_what_is_left_out(p.shape[:-1])


def _places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The first positions of an array, in order."""
    count = min(MOST_ELEMENTS, int(np.prod(shape)))
    return [tuple(int(axis) for axis in np.unravel_index(flat, shape)) if shape else () for flat in range(count)]


def _place(place: tuple[int, ...]) -> str:
    return ", ".join(map(str, place)) if place else "all"


def _number(value: np.generic) -> str:
    return f"{value:.5g}" if value.dtype.kind == "f" else str(value)


def _say_what_is_left_out(shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    if count > MOST_ELEMENTS:
        say(f"the first {MOST_ELEMENTS} of {count:,} (all: --json, --out FILE.npz)")
