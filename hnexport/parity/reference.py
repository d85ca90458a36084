"""The reference: the ensemble in float64 on the CPU, and what float32 loses: eagerly, and by chance."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.fingerprints import fingerprints
from hnexport.bundle.golden import Golden
from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError
from hnexport.parity.cost import counted_seconds, estimated_seconds
from hnexport.parity.double import run_double, run_single
from hnexport.parity.inputs import EXAMPLE, GIVEN
from hnexport.parity.judgeable import judgeable
from hnexport.parity.members import MEMBERS_CHECKED_BY_DEFAULT, checked_members, sample_members
from hnexport.parity.noise import measure_noise
from hnexport.parity.open_axes import shortened
from hnexport.parity.spoiling import spoilt_outputs
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.progress import Progress, no_progress
from hnexport.rows import LARGEST_NOISE, flat_rows, relative_l2, taken

__all__ = [
    "BUILD_SECONDS",
    "UnusableError",
    "compute_golden",
    "covered_members",
    "reference_of",
]

Array = NDArray[np.generic]

BUILD_SECONDS = 10.0
"""About what reference and verification may take in a build of more than 32 members, by an estimate that is the same on
every machine."""
_RESIZED = 3  # samples
_CONDITIONED = 8  # members, with each further condition
_STRICT = TOLERANCES[Precision.FLOAT32]
_RUNS_A_MEMBER = 40  # runs of the reference that take as long as everything a build does for one member


class UnusableError(Exception):
    """Samples that the reference cannot be computed for."""

    def __init__(self, samples: Sequence[int]) -> None:
        super().__init__()
        self.samples = set(samples)


def covered_members(ensemble: Ensemble, inputs: Mapping[str, Array], chosen: Sequence[int] | None) -> tuple[int, ...]:
    """The members that a build compares: those chosen, otherwise all, as far as `BUILD_SECONDS` allow, and 32 at least.

    Raises:
        ParityError: one of them does not exist, or there are none.
    """
    if chosen is not None or ensemble.members <= MEMBERS_CHECKED_BY_DEFAULT:
        return checked_members(ensemble.members, chosen)
    try:
        seconds = _RUNS_A_MEMBER * estimated_seconds(ensemble, 0, inputs)
    except Exception:  # a probe that the network cannot take, see `compute_golden`
        return sample_members(ensemble.members)
    able = int(BUILD_SECONDS / max(seconds, 1e-9))
    return sample_members(ensemble.members, count=max(MEMBERS_CHECKED_BY_DEFAULT, able))


def compute_golden(
    ensemble: Ensemble,
    members: Sequence[int],
    inputs: Mapping[str, Array],
    kinds: Sequence[str],
    *,
    progress: Progress = no_progress,
    every: bool = False,
    conditions: Sequence[Mapping[str, Array]] = (),
) -> Golden:
    """The reference outputs of samples for some members.

    A sample beyond the example's range that the network cannot take (an index that does not exist, a number that is not
    finite in float64 or in float32) is left out, and so is one of which float32 keeps too little to judge it by, see
    `judgeable`.

    Args:
        inputs: as `Probes.inputs`.
        kinds: what each sample is.
        progress: called after each member.
        every: keep samples that cannot be judged.
        conditions: others than those among `inputs`, with which some of the samples are computed too; those with which
            they cannot be are left out.

    Raises:
        ParityError: the reference itself is not finite, so nothing can be compared with it.
    """
    kept = list(range(len(kinds)))
    while True:
        some = taken(ensemble.signature, inputs, kept)
        try:
            golden = reference_of(ensemble, members, some, [kinds[i] for i in kept], progress)
            golden = golden if every else judgeable(golden, ensemble.signature, _STRICT)
            parts = tuple(part for given in conditions if (part := _with_condition(ensemble, golden, given)))
            return dataclasses.replace(golden, resized=_resized(ensemble, golden), conditions=parts)
        except UnusableError as error:
            kept = [number for position, number in enumerate(kept) if position not in error.samples]


def _with_condition(ensemble: Ensemble, golden: Golden, given: Mapping[str, Array]) -> Golden | None:
    """The members and some of the samples with other conditions; None where the network cannot run them."""
    inputs = {**taken(ensemble.signature, golden.inputs, slice(0, _RESIZED)), **given}
    members = golden.members.tolist()
    few = members if len(members) <= _CONDITIONED else [*members[: _CONDITIONED - 1], members[-1]]
    try:
        found = reference_of(ensemble, few, inputs, golden.kinds[:_RESIZED])
    except (ParityError, UnusableError):
        return None
    return dataclasses.replace(found, fingerprints={}, spoils=None)


def _resized(ensemble: Ensemble, golden: Golden) -> Golden | None:
    """Some of the samples with open axes one shorter; None where there are none, or the network cannot run them."""
    inputs = shortened(ensemble.signature, taken(ensemble.signature, golden.inputs, slice(0, _RESIZED)))
    if inputs is None:
        return None
    try:
        found = reference_of(ensemble, golden.members[:1].tolist(), inputs, golden.kinds[:_RESIZED])
    except (ParityError, UnusableError):
        return None
    found = judgeable(found, ensemble.signature, _STRICT)
    return dataclasses.replace(found, fingerprints={}, spoils=None)


def reference_of(
    ensemble: Ensemble,
    members: Sequence[int],
    inputs: Mapping[str, Array],
    kinds: Sequence[str],
    progress: Progress = no_progress,
) -> Golden:
    """The reference outputs of exactly these samples.

    Raises:
        ParityError: no sample can be computed.
        UnusableError: some cannot.
    """
    outputs, double = ensemble.signature.outputs, ensemble.double()
    known: dict[str, list[Array]] = {output.name: [] for output in outputs}
    eager: dict[str, list[NDArray[np.float64]]] = {output.name: [] for output in outputs if output.is_floating}
    chosen: dict[str, list[NDArray[np.bool_]]] = {output.name: [] for output in outputs if not output.is_floating}
    seconds = 0.0
    for count, member in enumerate(members, start=1):
        one = _tried(functools.partial(run_double, double, member), ensemble, inputs, kinds)
        eagerly = functools.partial(run_single, ensemble, member, inputs)
        single, seconds = counted_seconds(eagerly) if count == 1 else (eagerly(), seconds)
        _check_finite(ensemble, member, kinds, {"float64": one, "float32": single})
        for output in outputs:
            value = one[output.name]
            known[output.name].append(value.astype(np.float64) if output.is_floating else value)
            if output.is_floating:
                rows = [flat_rows(output, found[output.name]) for found in (single, one)]
                eager[output.name].append(np.minimum(relative_l2(*rows), LARGEST_NOISE))
            else:
                rows = [flat_rows(output, found[output.name]) for found in (single, one)]
                chosen[output.name].append((rows[0] != rows[1]).any(axis=-1))
        progress("reference", count, len(members))
    reference = {name: np.stack(values) for name, values in known.items()}
    return Golden(
        inputs=dict(inputs),
        kinds=tuple(kinds),
        members=np.array(members, dtype=np.int64),
        outputs=reference,
        eager={name: np.stack(errors) for name, errors in eager.items()},
        noise=measure_noise(double, members, inputs, reference, seconds, _stacked(chosen)),
        fingerprints=fingerprints((name, tensor.cpu().numpy()) for name, tensor in ensemble.tensors.items()),
        spoils=spoilt_outputs(ensemble, members[0], inputs),
    )


def _stacked(arrays: Mapping[str, Sequence[NDArray[np.bool_]]]) -> dict[str, NDArray[np.bool_]]:
    return {name: np.stack(held) for name, held in arrays.items()}


def _tried(
    run: Callable[[Mapping[str, Array]], dict[str, Array]],
    ensemble: Ensemble,
    inputs: Mapping[str, Array],
    kinds: Sequence[str],
) -> dict[str, Array]:
    """The outputs, or which samples the network cannot take."""
    try:
        return run(inputs)
    except Exception as error:  # whatever a network raises
        unable = []
        for sample in range(len(kinds)):
            try:
                run(taken(ensemble.signature, inputs, [sample]))
            except Exception:  # whatever a network raises
                unable.append(sample)
        if not unable or len(unable) == len(kinds) or any(kinds[sample] == EXAMPLE for sample in unable):
            raise ParityError(f"the network cannot run its samples in float64: {error}") from error
        raise UnusableError(unable) from error


def _check_finite(
    ensemble: Ensemble, member: int, kinds: Sequence[str], found: Mapping[str, Mapping[str, Array]]
) -> None:
    """Leave out samples that are not finite, if others are.

    Raises:
        ParityError: none is, or the example is not.
    """
    for precision, values in found.items():
        for output in ensemble.signature.outputs:
            if not output.is_floating:
                continue
            wrong = np.flatnonzero(~np.isfinite(flat_rows(output, values[output.name])).all(axis=-1)).tolist()
            if not output.has_batch and wrong:  # whichever it is
                wrong = [number for number, kind in enumerate(kinds) if kind != EXAMPLE]
            if not wrong and np.isfinite(values[output.name]).all():
                continue
            if not wrong or len(wrong) == len(kinds) or any(kinds[sample] == EXAMPLE for sample in wrong):
                checked = "the samples and its weights" if GIVEN in kinds else "its weights"
                raise ParityError(
                    f"member {member}: PyTorch's own {precision} {output.name} are not finite; check {checked}"
                )
            raise UnusableError(wrong)
