"""Numerical comparison of outputs with the reference, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import ParityError
from hnexport.parity.results import Comparison, OutputComparison
from hnexport.parity.tolerances import EAGER_FLOOR, ILL_CONDITIONED, Tolerance
from hnexport.rows import LARGEST_NOISE, NOISE_MULTIPLE, chosen_rows, flat_rows, relative_l2
from hnexport.spec import OutputKind, OutputSpec, Signature

__all__ = ["Reference", "RowLimits", "checked_outputs", "compare_member", "row_limits", "spread"]

Array = NDArray[np.generic]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What one member should return.

    Attributes:
        outputs: by name `[sample, …]`; of an output without a batch axis its value for all samples together.
        eager: of each floating-point output `[row]`: what float32 eager loses.
        noise: of each output `[row]`: what float32 may lose by chance.
    """

    member: int
    signature: Signature
    outputs: Mapping[str, Array]
    eager: Mapping[str, Floats]
    noise: Mapping[str, Floats]

    @classmethod
    def of(cls, golden: Golden, position: int, signature: Signature) -> Self:
        """Of the golden samples' member at a position."""
        return cls(
            member=int(golden.members[position]),
            signature=signature,
            outputs={name: array[position] for name, array in golden.outputs.items()},
            eager={name: array[position] for name, array in golden.eager.items()},
            noise={name: array[position] for name, array in golden.noise.items()},
        )

    @property
    def samples(self) -> int:
        """How many there are."""
        return max((len(self.outputs[item.name]) for item in self.signature.outputs if item.has_batch), default=1)

    def limits(self, output: OutputSpec, tolerance: Tolerance) -> "RowLimits":
        """What each row of an output may be off by."""
        noise = self.noise.get(output.name, np.zeros(self.samples if output.has_batch else 1))
        return row_limits(self.eager.get(output.name, np.zeros_like(noise)), noise, tolerance)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowLimits:
    """For each row `[row]` of an output: its limit, the yardstick, and whether it is ill-conditioned.

    Both are infinite where nothing is known of a row: it is zero, or not finite, but for rounding.
    """

    limit: Floats
    yardstick: Floats
    ill: NDArray[np.bool_]


def row_limits(eager: Floats, noise: Floats, tolerance: Tolerance) -> RowLimits:
    """A row is within the tolerance and within a multiple of what float32 loses; where float32 itself may lose much of
    the tolerance by chance, a multiple of that is all that can be asked for.

    Args:
        eager: `[row]`, what float32 eager loses.
        noise: `[row]`, what float32 may lose by chance.
    """
    coarser = tolerance.rounding / EAGER_FLOOR
    ill = noise * coarser > ILL_CONDITIONED * tolerance.relative_l2
    well = noise[~ill]
    # Of a row of one number the draws may be small by luck: all rows together say what is usual.
    pooled = float(np.sqrt(np.mean(well**2))) if well.size else 0.0
    usual = max(float(eager[~ill].max(initial=0.0)), pooled, tolerance.functions)
    yardstick = np.where(ill, np.maximum(noise, eager) * coarser, np.maximum(noise, usual))
    limit = np.minimum(tolerance.relative_l2, tolerance.multiple_of_eager * yardstick)
    # A row of zero: where eager finds no dust on any such row either, whatever is more than nothing is wrong.
    nothing = noise >= LARGEST_NOISE
    yardstick = np.where(nothing & bool(eager[nothing].any()), np.inf, yardstick)
    return RowLimits(limit=np.where(ill, NOISE_MULTIPLE * yardstick, limit), yardstick=yardstick, ill=ill)


def spread(values: Array) -> float:
    """Root mean square distance of the members' outputs `[member, …]` from their mean."""
    wide = values.astype(np.float64)
    return float(np.sqrt(((wide - wide.mean(axis=0)) ** 2).mean()))


def checked_outputs(
    name: str, signature: Signature, found: Mapping[str, Array], reference: Mapping[str, Array], rows: Sequence[int]
) -> dict[str, Array]:
    """The outputs of a batch by name. Where rows are lost, every one is wrong.

    Args:
        reference: as `Reference.outputs`.
        rows: the samples of the batch.

    Raises:
        ParityError: an output is missing, of another type, or of another shape.
    """
    checked = {}
    for output in signature.outputs:
        if output.name not in found:
            raise ParityError(f"{name} returns no {output.name}, only {', '.join(found) or 'nothing'}")
        array, known = np.asarray(found[output.name]), chosen_rows(output, reference[output.name], rows)
        if output.is_floating and array.dtype.kind != "f":
            raise ParityError(
                f"{name} returns {array.dtype}, expected floating-point {output.name}: export the {output.name}"
            )
        if not output.is_floating and array.dtype.kind == "f":
            raise ParityError(f"{name} returns {output.name} in {array.dtype}, expected {output.dtype}")
        lost = output.has_batch and array.shape[1:] == known.shape[1:] and len(array) != len(known)
        if lost or array.shape != known.shape:
            if not (array.ndim == known.ndim and lost):
                raise ParityError(
                    f"{name}: expected {output.name} of shape {list(known.shape)}, found {list(array.shape)}"
                )
            array = np.full(known.shape, np.inf)
        checked[output.name] = array
    return checked


def compare_member(
    reference: Reference,
    batches: Sequence[Sequence[int]],
    found: Sequence[Mapping[str, Array]],
    tolerance: Tolerance,
) -> Comparison:
    """Compare one member's outputs, batch by batch, with the reference.

    Args:
        batches: the samples of each batch.
        found: the outputs of each, of the reference's shapes; see `checked_outputs`.
    """
    signature, whole = reference.signature, list(range(reference.samples))
    compared = []
    for output in signature.outputs:
        used = [
            (rows, one) for rows, one in zip(batches, found, strict=True) if output.has_batch or list(rows) == whole
        ]
        if not used:
            continue
        values = np.concatenate([flat_rows(output, one[output.name]) for _, one in used])
        expected = [chosen_rows(output, reference.outputs[output.name], rows) for rows, _ in used]
        known = np.concatenate([flat_rows(output, one) for one in expected])
        rows = np.concatenate([list(rows) if output.has_batch else [0] for rows, _ in used]).astype(np.int64)
        if output.is_floating:
            item = _compare_floats(output, values, known, rows, reference.limits(output, tolerance))
            if output.kind is OutputKind.LOGITS:
                pairs = [(one[output.name], wanted) for (_, one), wanted in zip(used, expected, strict=True)]
                item = _with_logits(item, output, pairs)
        else:
            item = _compare_exactly(output, values, known, reference.noise[output.name][rows])
        compared.append(item)
    return _summed(reference.member, compared)


def _compare_floats(
    output: OutputSpec, values: Array, known: Array, rows: NDArray[np.int64], limits: RowLimits
) -> OutputComparison:
    errors = relative_l2(values, known)
    ill, fine = limits.ill[rows], errors <= limits.limit[rows]
    counted, known_ill = ~ill | ~fine, ill & np.isfinite(limits.limit[rows])
    shown = errors[counted if counted.any() else known_ill]
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(values.astype(np.float64) - known.astype(np.float64))
    return OutputComparison(
        output=output.name,
        worst_absolute=float(difference.max(initial=0.0)) if np.isfinite(difference).all() else np.inf,
        relative_l2=float(shown.max(initial=0.0)),
        multiple_of_eager=float((errors / limits.yardstick[rows]).max(initial=0.0)),
        ill_conditioned=int(limits.ill.sum()),
        worst_ill=float(errors[known_ill].max(initial=0.0)),
        passed=bool(fine.all()),
    )


def _compare_exactly(output: OutputSpec, values: Array, known: Array, unsettled: Floats) -> OutputComparison:
    """Integers and booleans are equal; of rows where float32 itself may choose otherwise, as many as it may."""
    wrong = (values != known).mean(axis=-1) if known.shape[-1] else np.zeros(len(known))
    passed = bool((wrong <= np.minimum(NOISE_MULTIPLE * unsettled, 1.0)).all())
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(values.astype(np.float64) - known.astype(np.float64))
    return OutputComparison(
        output=output.name,
        worst_absolute=float(difference.max(initial=0.0)),
        relative_l2=0.0 if passed else np.inf,
        multiple_of_eager=0.0 if passed else np.inf,
        ill_conditioned=int((unsettled > 0).sum()),
        passed=passed,
    )


def _with_logits(item: OutputComparison, output: OutputSpec, pairs: Sequence[tuple[Array, Array]]) -> OutputComparison:
    """What the classes say, along the output's own axis."""
    axis = output.axis or 0
    agreements, margins = [], []
    for found, known in pairs:
        wide, wanted = (np.moveaxis(array.astype(np.float64), axis, -1) for array in (found, known))
        if not wanted.size:
            continue
        agreements.append(float((wide.argmax(axis=-1) == wanted.argmax(axis=-1)).mean()) * len(wanted.reshape(-1)))
        margins.append(_margin(np.abs(wide - wanted), wanted))
    sizes = sum(known.size for _, known in pairs)
    return OutputComparison(
        **{
            **vars(item),
            "top1_agreement": sum(agreements) / sizes if sizes else 1.0,
            "margin": min(margins, default=np.inf),
        }
    )


def _margin(difference: Floats, reference: Floats) -> float:
    """Smallest distance of a row's two largest logits, as a multiple of the row's largest absolute difference."""
    if reference.shape[-1] < 2:
        return float("inf")
    highest = np.partition(reference, -2, axis=-1)
    gap = highest[..., -1] - highest[..., -2]
    worst = difference.max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(worst > 0, gap / worst, np.inf)
    return float(np.where(np.isnan(ratio), 0.0, ratio).min())


def _summed(member: int, compared: Sequence[OutputComparison]) -> Comparison:
    agreements = [item.top1_agreement for item in compared if item.top1_agreement is not None]
    margins = [item.margin for item in compared if item.margin is not None]
    return Comparison(
        member=member,
        worst_absolute=max((item.worst_absolute for item in compared), default=0.0),
        relative_l2=max((item.relative_l2 for item in compared), default=0.0),
        multiple_of_eager=max((item.multiple_of_eager for item in compared), default=0.0),
        top1_agreement=min(agreements, default=1.0),
        margin=min(margins, default=np.inf),
        passed=all(item.passed for item in compared),
        outputs=tuple(compared),
    )
