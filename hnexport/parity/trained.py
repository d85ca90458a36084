"""Is an ensemble what was trained? Outputs of the trained model itself, in a file, against the ensemble in float64.

Everything else proves that artifacts are the ensemble. An import that leaves no trace in shapes (another activation,
two batch norms exchanged) is seen only here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from hnexport.ensemble import Ensemble
from hnexport.errors import ParityError
from hnexport.parity.double import run_double, run_single
from hnexport.parity.inputs import given_inputs
from hnexport.parity.tolerances import TF32_SHOWS, Precision, tolerance_of
from hnexport.rows import NOISE_MULTIPLE, relative_l2
from hnexport.spec import OutputSpec

__all__ = ["NotAsTrainedError", "Trained", "check_trained", "read_trained"]

Array = NDArray[np.generic]

_INPUT, _OUTPUT, _MEMBERS = "input.", "output.", "members"


class NotAsTrainedError(ParityError):
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
    try:
        tensors = safetensors.numpy.load_file(path)
    except (OSError, SafetensorError, TypeError) as error:
        raise ParityError(f"{path} is no safetensors file of a reference that numpy can hold: {error}") from error
    inputs, outputs = (
        {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
        for prefix in (_INPUT, _OUTPUT)
    )
    other = next((name for name in tensors if not name.startswith((_INPUT, _OUTPUT)) and name != _MEMBERS), None)
    if other is not None or not outputs:
        raise ParityError(
            f"{path} holds {', '.join(list(tensors)[:5]) or 'nothing'}: a reference has input.NAME [sample, …] of each "
            "input, output.NAME [member, sample, …], and members where these are not all, in their order"
        )
    chosen = tuple(map(int, tensors[_MEMBERS])) if _MEMBERS in tensors else tuple(range(members))
    wrong = next((member for member in chosen if not 0 <= member < members), None)
    if wrong is not None:
        raise ParityError(f"{path} has outputs of a member {wrong}, the ensemble has {members}, from 0")
    for name, array in outputs.items():
        if len(array) != len(chosen):
            raise ParityError(f"{path}: {_OUTPUT}{name} is of {len(array)} members, expected {len(chosen)}")
    return Trained(inputs=inputs, outputs=outputs, members=chosen)


def check_trained(ensemble: Ensemble, path: Path) -> float:
    """Compare the ensemble with what a trained model computed, and return the largest relative L2 error of a row.

    A row may be off by float32's tolerance, or by a few times what float32 loses on it.

    Raises:
        ParityError: the file is not one of this ensemble.
        NotAsTrainedError: an output of a member is another.
    """
    trained = read_trained(path, ensemble.members)
    inputs = given_inputs(ensemble.signature, trained.inputs, most=None).inputs
    known = {output.name: output for output in ensemble.signature.outputs}
    unknown = next((name for name in trained.outputs if name not in known), None)
    if unknown is not None:
        raise ParityError(f"{path} has an output {unknown!r}, the ensemble gives {', '.join(known)}")
    double, worst = ensemble.double(), 0.0
    for row, member in enumerate(trained.members):
        exact, single = run_double(double, member, inputs), run_single(ensemble, member, inputs)
        for name, given in trained.outputs.items():
            where = f"{path}: member {member}, output {name}"
            worst = max(worst, _compare(where, known[name], given[row], exact[name], single[name]))
    return worst


def _compare(where: str, output: OutputSpec, given: Array, exact: Array, single: Array) -> float:
    if given.shape != exact.shape:
        raise ParityError(f"{where} has the shape {list(given.shape)}, the ensemble's is {list(exact.shape)}")
    if not output.is_floating:
        if not np.array_equal(given, exact):
            raise NotAsTrainedError(
                f"{where}: {int((given != exact).sum())} elements are others: it is not what was trained"
            )
        return 0.0
    flat = [array.reshape(len(array) if output.has_batch else 1, -1) for array in (given, exact, single)]
    errors, lost = relative_l2(flat[0], flat[1]), relative_l2(flat[2], flat[1])
    wrong = np.flatnonzero(~(errors <= np.maximum(tolerance_of(Precision.FLOAT32).relative_l2, NOISE_MULTIPLE * lost)))
    if wrong.size:
        largest = float(errors[wrong].max())
        coarse = TF32_SHOWS < largest < 0.01
        hint = "; if a GPU computed the reference with TF32, compute it on the CPU" if coarse else ""
        raise NotAsTrainedError(
            f"{where}: {wrong.size} of {len(errors)} samples are others than the trained model's, by up to "
            f"{largest:.1e} (relative L2, sample {int(wrong[errors[wrong].argmax()])}): "
            f"it is not what was trained{hint}"
        )
    return float(errors.max(initial=0.0))
