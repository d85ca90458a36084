"""What rounding the bases changes in an ensemble's answers to data, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.described import described
from hnexport.bundle.manifest import BasisJudgement
from hnexport.ensemble import Ensemble
from hnexport.evaluate.targets import ReadOptions
from hnexport.parity.double import run_single
from hnexport.parity.rounding import RoundedTooMuchError
from hnexport.progress import Progress, no_progress
from hnexport.quantise.cost import Budget, Floats, ensemble_cost, outputs_of
from hnexport.quantise.data import drawn_samples, judged_output
from hnexport.rows import batch_size

__all__ = ["JudgedOn"]


@dataclass(frozen=True, kw_only=True)
class JudgedOn:
    """`BuildOptions.judge`: the mean of all members, with rounded bases and with those before, in float32.

    Attributes:
        place: data as `hnexport evaluate` takes them, at most 2,048 of their samples.
        budget: what rounding may cost.
        reading: how the data are read.
    """

    place: Path
    budget: Budget = field(default_factory=Budget)
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __call__(self, exact: Ensemble, rounded: Ensemble, progress: Progress = no_progress) -> BasisJudgement:
        """Compare the two.

        Raises:
            RuntimeInputError: the data cannot be read, or are not what the network takes.
            TuneError: they do not tell what the budget asks.
            RoundedTooMuchError: rounding costs more than the budget allows.
        """
        manifest = described(exact)
        needs_targets = self.budget.accuracy_drop is not None
        inputs, targets = drawn_samples(self.place, manifest, self.reading, needs_targets=needs_targets)
        output = judged_output(manifest)
        sides: tuple[list[Floats], list[Floats]] = ([], [])
        for member in range(exact.members):
            for ensemble, found in zip((exact, rounded), sides, strict=True):

                def run(
                    some: Mapping[str, NDArray[np.generic]], ensemble: Ensemble = ensemble, member: int = member
                ) -> Mapping[str, NDArray[np.generic]]:
                    return run_single(ensemble, member, some)

                found.append(outputs_of(run, exact.signature, output, inputs))
            progress("judge", member + 1, exact.members)
        cost = ensemble_cost(*sides, output, targets)
        over = self.budget.exceeded(cost, "the mean of all members", "with rounded bases")
        if over:
            raise RoundedTooMuchError(f"{over}: store the bases in more bits")
        return BasisJudgement(
            data=self.place.name,
            samples=batch_size(exact.signature, inputs),
            relative_l2=cost.relative_l2,
            agreement=cost.agreement,
            accuracy=cost.accuracy,
            accuracy_before=cost.accuracy_float32,
        )
