"""What half precision changes in a member's answers, beside whether its file is computed right."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.parity.runners import Runner
from hnexport.quantise.cost import Cost, member_cost, outputs_of
from hnexport.quantise.data import drawn_samples, judged_output
from hnexport.quantise.options import Int8Options
from hnexport.rows import batch_size
from hnexport.text import number_of

__all__ = ["HalfCosts"]

Array = NDArray[np.generic]


class HalfCosts:
    """Compares files in half precision with the same in float32.

    Attributes:
        costs: of each member that was compared.
        told: by which samples, in words.
    """

    def __init__(
        self, manifest: Manifest, golden: Mapping[str, Array], samples: Path | None, options: Int8Options
    ) -> None:
        """Read the samples; without them, the golden ones say what changes.

        Raises:
            RuntimeInputError: they cannot be read.
        """
        self._signature, self._output = manifest.signature, judged_output(manifest)
        self._inputs, self._targets, self._budget = golden, None, options.budget
        self.told = "the bundle's golden samples"
        if samples is not None:
            needs = options.budget.accuracy_drop is not None
            self._inputs, self._targets = drawn_samples(samples, manifest, options.reading, needs_targets=needs)
            self.told = f"{number_of(batch_size(manifest.signature, self._inputs), 'sample')} of {samples.name}"
        self.costs: dict[int, Cost] = {}

    def compare(self, member: int, exact: Runner, found: Runner, precision: str) -> None:
        """Note what a member's file changes.

        Raises:
            TuneFailedError: it costs more than the budget.
        """
        known, given = (
            outputs_of(lambda inputs, one=one: one.run(member, inputs), self._signature, self._output, self._inputs)  # type: ignore[misc]
            for one in (exact, found)
        )
        self.costs[member] = member_cost(known, given, self._output, self._targets)
        self._budget.check(self.costs[member], f"member {member}", precision)
