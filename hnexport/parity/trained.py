"""Is an ensemble what was trained? Outputs of the trained model itself, in a file, against the ensemble in float64.

Everything else proves that artifacts are the ensemble. What an import got wrong without a trace in shapes (another
activation, two batch norms exchanged) is seen only here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from hnexport.bundle.manifest import AsTrained
from hnexport.ensemble import Ensemble
from hnexport.errors import DifferentError, ParityError, SpecError
from hnexport.names import documented
from hnexport.parity.double import run_double, run_single
from hnexport.parity.inputs import given_inputs
from hnexport.parity.tolerances import TF32_SHOWS, Precision, tolerance_of
from hnexport.rows import NOISE_MULTIPLE, batch_size, flat_rows, relative_l2
from hnexport.spec import OutputSpec
from hnexport.text import clean

__all__ = ["NotAsTrainedError", "Trained", "check_trained", "read_trained"]

Array = NDArray[np.generic]

_INPUT, _OUTPUT, _MEMBERS = "input.", "output.", "members"
_REMEDY = (
    'write it where the trained model is, with safetensors.torch.save_file({"input.NAME": …, "output.NAME": …}, path): '
    f"see {documented('howto/from#what-the-trained-model-computed')}"
)
_TOLERANCE = tolerance_of(Precision.FLOAT32)


class NotAsTrainedError(ParityError, DifferentError):
    """The ensemble computes something else than the trained model did."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What a trained model computed.

    Attributes:
        inputs: by name, `[sample, …]`.
        outputs: by name, `[member, sample, …]`; perhaps not all that the ensemble has.
        members: which member each is.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    members: tuple[int, ...]


def read_trained(path: Path, members: int) -> Trained:
    """Read a safetensors file: `input.NAME`, `output.NAME` and, where these are not all members in order, `members`.

    Raises:
        ParityError: it cannot be read, or holds something else.
    """
    if not path.is_file():
        raise ParityError(f"{path}: there is no such file; {_REMEDY}")
    try:
        tensors = safetensors.numpy.load_file(path)
    except (OSError, SafetensorError, TypeError) as error:
        raise ParityError(
            f"{path} is no safetensors file of a reference that numpy can hold ({error}); {_REMEDY}"
        ) from error
    inputs, outputs = (
        {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        for prefix in (_INPUT, _OUTPUT)
    )
    other = next((name for name in tensors if not name.startswith((_INPUT, _OUTPUT)) and name != _MEMBERS), None)
    if other is not None or not outputs:
        raise ParityError(
            f"{path} holds {', '.join(list(tensors)[:5]) or 'nothing'}: a reference has input.NAME [sample, …] of each "
            f"input, output.NAME [member, sample, …], and {_MEMBERS} where these are not all, in their order"
        )
    chosen = _chosen(path, tensors.get(_MEMBERS), members)
    for name, array in outputs.items():
        if array.shape[:1] != (len(chosen),):
            found = len(array) if array.ndim else "no"
            raise ParityError(
                f"{path}: {_OUTPUT}{name} is {list(array.shape)}, of {found} members, expected {len(chosen)}: "
                f"[member, sample, …]; where it is not of all, a tensor {_MEMBERS} says of which"
            )
    return Trained(inputs=inputs, outputs=outputs, members=chosen)


def _chosen(path: Path, given: Array | None, members: int) -> tuple[int, ...]:
    """Of which members outputs are.

    Raises:
        ParityError: these are no members.
    """
    if given is None:
        return tuple(range(members))
    if given.ndim != 1 or given.dtype.kind not in "iu" or not given.size:
        raise ParityError(
            f"{path}: {_MEMBERS} is {given.dtype} {list(given.shape)}, expected integers [member], at least one"
        )
    chosen = tuple(int(member) for member in given)
    wrong = next((member for member in chosen if not 0 <= member < members), None)
    if wrong is not None:
        raise ParityError(f"{path} has outputs of a member {wrong}, the ensemble has {members}, from 0")
    return chosen


def check_trained(ensemble: Ensemble, path: str | PathLike[str]) -> AsTrained:
    """Compare the ensemble with what a trained model computed.

    A row may be off by float32's tolerance, or by a few times what float32 loses on it. One of which float32 cannot say
    anything is not judged.

    Raises:
        ParityError: the file is not one of this ensemble, or no row of it can be judged.
        NotAsTrainedError: an output of a member is another.
    """
    path = Path(path)
    trained = read_trained(path, ensemble.members)
    for item in ensemble.signature.of_generator:
        array = trained.inputs.get(item.name)
        if array is not None and array.ndim > len(item.shape):
            raise ParityError(
                f"{path}: {_INPUT}{item.name} is {list(array.shape)}, a reference is of one condition, "
                f"{list(item.shape)}: write a file for each"
            )
    try:
        inputs = given_inputs(ensemble.signature, trained.inputs, most=None).inputs
    except SpecError as error:
        raise ParityError(f"{path}: {error}; each is {_INPUT}NAME [sample, …] in the file") from error
    known = {output.name: output for output in ensemble.signature.outputs}
    unknown = next((name for name in trained.outputs if name not in known), None)
    if unknown is not None:
        raise ParityError(f"{path} has an output {unknown!r}, the ensemble gives {', '.join(known)}")
    double, rows = ensemble.double(), [_Row(error=0.0, limit=_TOLERANCE.relative_l2)]
    for row, member in enumerate(trained.members):
        exact, single = run_double(double, member, inputs), run_single(ensemble, member, inputs)
        for name, given in trained.outputs.items():
            where = f"{path}: member {member}, output {name}"
            rows.append(_compare(where, known[name], given[row], exact[name], single[name]))
    worst = max(rows, key=lambda found: found.error)
    return AsTrained(
        file=clean(path.name),
        members=trained.members,
        samples=batch_size(ensemble.signature, inputs),
        outputs=tuple(trained.outputs),
        relative_l2=worst.error,
        tolerance=worst.limit,
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    """How far a row is from the trained model's, and how far it may be (relative L2)."""

    error: float
    limit: float


def _compare(where: str, output: OutputSpec, given: Array, exact: Array, single: Array) -> _Row:
    """The row that is the furthest off.

    Raises:
        ParityError: nothing can be said.
        NotAsTrainedError: a row is another.
    """
    if given.shape != exact.shape:
        raise ParityError(f"{where} has the shape {list(given.shape)}, the ensemble's is {list(exact.shape)}")
    if not output.is_floating:
        if not np.array_equal(given, exact):
            raise NotAsTrainedError(
                f"{where}: {int((given != exact).sum())} elements are others: it is not what was trained"
            )
        return _Row(error=0.0, limit=_TOLERANCE.relative_l2)
    for what, array in (("the reference", given), ("the ensemble", exact)):
        if not np.isfinite(array).all():
            raise ParityError(f"{where}: {what} is not finite there, which proves nothing: leave such samples out")
    given, exact, single = (flat_rows(output, array) for array in (given, exact, single))
    errors, lost = relative_l2(given, exact), relative_l2(single, exact)
    limits = np.maximum(_TOLERANCE.relative_l2, NOISE_MULTIPLE * lost)
    judged = limits <= _TOLERANCE.excused
    if not judged.any():
        raise ParityError(f"{where}: float32 loses {lost.min():.1e} of every sample, which proves nothing")
    wrong = np.flatnonzero(judged & ~(errors <= limits))
    if wrong.size:
        raise NotAsTrainedError(_difference(where, errors, wrong))
    worst = int(np.where(judged, errors, -1.0).argmax())
    return _Row(error=float(errors[worst]), limit=float(limits[worst]))


def _difference(where: str, errors: NDArray[np.float64], wrong: NDArray[np.intp]) -> str:
    largest = float(errors[wrong].max())
    coarse = TF32_SHOWS < largest < 0.01
    hint = "; if a GPU computed the reference with TF32, compute it on the CPU" if coarse else ""
    return (
        f"{where}: {wrong.size} of {len(errors)} samples are others than the trained model's, by up to "
        f"{largest:.1e} (relative L2, sample {int(wrong[errors[wrong].argmax()])}): it is not what was trained{hint}"
    )
