"""The golden sample at load: does this machine compute what PyTorch computed when the bundle was built?"""

import logging
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.errors import BundleError
from hnexport.rows import LARGEST_NOISE, MOST_EXCUSED, NOISE_MULTIPLE, row_errors, taken
from hnexport.runtime.inputs import sample_word
from hnexport.runtime.options import Check
from hnexport.runtime.residents import ConditionalPredictor
from hnexport.spec import OutputSpec, Signature
from hnexport.spec.precision import Precision
from hnexport.spelling import spelled

__all__ = ["LOAD_TOLERANCES", "LoadTolerance", "check_golden"]

logger = logging.getLogger(__name__)

_TIES = 1  # elements
_ILL_CONDITIONED = 2.5e-6  # of a row, by chance: a quarter of what a bundle is held to when it is built


@dataclass(frozen=True, kw_only=True)
class LoadTolerance:
    """What a row of an output may lose at load: |output - reference| / |reference|."""

    relative_l2: float
    reason: str


LOAD_TOLERANCES = MappingProxyType(
    {
        Precision.FLOAT32: LoadTolerance(
            relative_l2=4e-5,
            reason=(
                "Four times the 1e-5 that a bundle is held to when it is built, since another processor sums in "
                "another order; TF32 and bfloat16 cost 1e-3 and more, wrong weights 1e-4 and more."
            ),
        ),
        Precision.TF32: LoadTolerance(
            relative_l2=1e-2,
            reason="10 bits of mantissa, 5e-4 a factor, sums in float32; 10 to 40 layers of them lose 0.1 % to 0.3 %.",
        ),
        Precision.FLOAT16: LoadTolerance(
            relative_l2=2e-2,
            reason="Rounds as TF32 does, and stores every activation in it too, with a narrow range: twice TF32's.",
        ),
        Precision.BFLOAT16: LoadTolerance(
            relative_l2=0.1,
            reason="8 bits of mantissa, 4e-3 a rounding; 10 to 40 layers of them lose 0.3 % to 3 %.",
        ),
    }
)


def check_golden(
    golden: Golden,
    signature: Signature,
    predict: ConditionalPredictor,
    check: Check,
    precision: Precision,
    folder: Path,
) -> None:
    """Compare predictions with the golden samples: one sample of one member, or everything.

    A row may be off by the tolerance, or by `NOISE_MULTIPLE` times what float32 loses on it by chance, which golden
    samples know; one sample is the first that may be off by `MOST_EXCUSED` at most. Outputs that are not floating-point
    are compared exactly, but one element of them may differ: where two numbers are nearly equal, float32 decides by
    chance which is the largest. In a coarser precision than float32 they are not compared at all.

    Raises:
        BundleError: a row is outside the tolerance; the message names member and sample and says what to do.
    """
    if check is Check.NONE:
        return
    if not len(golden.members):
        raise BundleError(f"{folder}: its golden samples are of no member, nothing can be checked; build it again")
    together = any(not output.has_batch for output in signature.outputs)  # of all samples
    first = _first_judgeable(golden)
    samples = slice(None) if check is Check.ALL or together else slice(first, first + 1)
    inputs, judge = taken(signature, golden.inputs, samples), _Judge(golden, signature, precision, folder)
    for row in range(len(golden.members) if check is Check.ALL else 1):
        outputs = predict(int(golden.members[row]), inputs)
        for output in signature.outputs:
            judge.compare(row, output, outputs.get(output.name), samples)
    for part in golden.conditions if check is Check.ALL else ():  # the same with other conditions
        check_golden(part, signature, predict, check, precision, folder)
    for name in sorted(judge.lost - judge.judged):
        logger.warning(
            "%s: nothing of %s is checked, since its golden samples say that float32 may lose more than %g of it",
            folder,
            name,
            MOST_EXCUSED,
        )
    if judge.differing:
        logger.info("%s: a whole number among the golden samples' outputs is another one, as a tie may be", folder)


def _first_judgeable(golden: Golden) -> int:
    """The first sample of which float32 keeps enough to judge it by, for the first member; the first where none is."""
    noise = [errors[0] for errors in golden.noise.values() if errors.shape[1] == golden.samples]
    fine = NOISE_MULTIPLE * np.max(noise, axis=0, initial=0.0) <= MOST_EXCUSED if noise else np.ones(1, np.bool_)
    return int(np.argmax(fine))


class _Judge:
    """Compares outputs with those of golden samples.

    Attributes:
        judged: floating-point outputs of which a row could be judged.
        lost: those of which one could not.
        differing: how many elements that are not floating-point differed so far.
    """

    def __init__(self, golden: Golden, signature: Signature, precision: Precision, folder: Path) -> None:
        self._golden, self._folder, self._precision = golden, folder, precision
        self._word, self._several = sample_word(signature), len(signature.outputs) > 1
        self._tolerance = LOAD_TOLERANCES[precision].relative_l2
        self.differing = 0
        self.judged: set[str] = set()
        self.lost: set[str] = set()

    def compare(self, row: int, output: OutputSpec, found: NDArray[np.generic] | None, samples: slice) -> None:
        """Compare one output of the member in a row of the golden samples.

        Raises:
            BundleError: it is not the golden one.
        """
        known = self._golden.outputs[output.name][row]
        known = known[samples] if output.has_batch else known
        if found is None or found.shape != known.shape:
            shape = "nothing" if found is None else f"shape {list(found.shape)}"
            raise self._refused(row, f"{output.name} should have shape {list(known.shape)}, found {shape}")
        if output.is_floating:
            self._compare_rows(row, output, found, known, samples)
        elif self._precision is Precision.FLOAT32:
            self.differing += int(np.count_nonzero(found != known))
            if self.differing > _TIES:
                raise self._refused(row, f"{self.differing} elements of {output.name} differ")

    def _compare_rows(
        self, row: int, output: OutputSpec, found: NDArray[np.generic], known: NDArray[np.generic], samples: slice
    ) -> None:
        rows = (found, known) if output.has_batch else (found[np.newaxis], known[np.newaxis])
        error, noise = row_errors(*rows), self._golden.noise[output.name][row]
        eager = self._golden.eager.get(output.name, self._golden.noise[output.name])[row]
        # Where much is lost by chance, what eager lost on that row tells as much; as `verify` judges it.
        noise = np.where(noise > _ILL_CONDITIONED, np.maximum(noise, eager), noise)
        limit = np.maximum(self._tolerance, NOISE_MULTIPLE * (noise[samples] if output.has_batch else noise))
        limit = np.where(limit >= LARGEST_NOISE, np.inf, limit)
        for is_judged in limit <= max(self._tolerance, MOST_EXCUSED):
            (self.judged if is_judged else self.lost).add(output.name)
        failed = np.flatnonzero(~(error <= limit))
        if failed.size:
            worst = int(failed[0])
            number = range(self._golden.samples)[samples][worst]
            where = f"{self._word} {number} ({self._golden.kinds[number]})" if output.has_batch else output.name
            which = f" in {output.name}" if self._several and output.has_batch else ""
            what = f"{where} is off by {error[worst]:.1e} (relative L2){which}, allowed {limit[worst]:.1e}"
            raise self._refused(row, what)

    def _refused(self, row: int, what: str) -> BundleError:
        cpu = spelled("provider='cpu'", "--provider cpu")
        return BundleError(
            f"{self._folder}: member {self._golden.members[row]} does not compute what it computed when the bundle was "
            f"built: {what}. Load with {cpu}, or with the onnxruntime of the manifest's versions; if that "
            "fails too, build the bundle again"
        )
