"""`quantised`: a bundle's network in int8, calibrated on samples, proved, judged, and only then put into the cache."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from hnexport import __version__
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.machine.processor import integer_products
from hnexport.parity.results import ArtifactReport
from hnexport.parity.tolerances import Precision
from hnexport.progress import Progress, no_progress
from hnexport.quantise.calibrate import Method
from hnexport.quantise.cost import Cost, ensemble_cost, member_cost, outputs_of
from hnexport.quantise.data import Calibration, judged_output, read_calibration
from hnexport.quantise.options import Int8Options
from hnexport.quantise.plan import Kept, Quantised, quantise
from hnexport.quantise.proof import prove
from hnexport.records import to_json
from hnexport.rows import batch_size, row_errors, taken
from hnexport.runtime.int8 import (
    INT8_MAKER_FILE,
    INT8_NETWORK_FILE,
    INT8_REPORT_FILE,
    INT8_SAMPLES_FILE,
    int8_entry,
)
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.tune.publish import Recipe, publish

__all__ = ["Int8Bundle", "Int8Report", "quantised"]

logger = logging.getLogger(__name__)

Array = NDArray[np.generic]

_CHECKED = 2  # samples that every load computes again
_LEAST_LIMIT = 0.02  # relative L2: other processors choose other levels, which costs what rounding itself does
_MULTIPLE = 2.0  # of what rounding costs on that row


@dataclass(frozen=True, kw_only=True)
class Int8Report:
    """What was made, and what it costs.

    Attributes:
        version: of hnexport.
        samples: where they come from.
        calibrated: how many chose the ranges.
        judged: how many judged; others, where there were more.
        apart: whether they were others.
        method: how ranges were chosen.
        layers: how many compute in int8.
        kept: those that stay in float32.
        numbers: of the members that were judged.
        members: of each of them what int8 changes against float32.
        ensemble: the same of the mean of all.
        levels: the worst distance of a level from float64, see `hnexport.quantise.replay`; 0.5 is exact.
        integer_products: what the processor multiplies int8 with; None where the system does not say.
    """

    version: str
    samples: str
    calibrated: int
    judged: int
    apart: bool
    method: Method
    layers: int
    kept: tuple[Kept, ...]
    numbers: tuple[int, ...]
    members: tuple[Cost, ...]
    ensemble: Cost
    levels: float
    integer_products: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Int8Bundle:
    """Graphs in the cache.

    Attributes:
        parity: what the proof found.
    """

    path: Path
    parity: ArtifactReport
    report: Int8Report
    seconds: float


def quantised(
    bundle: Path, samples: str | Path, *, options: Int8Options | None = None, progress: Progress = no_progress
) -> Int8Bundle:
    """Make the int8 graphs of a bundle, prove and judge every member, and cache them in the place of earlier ones.

    Args:
        samples: what the activations are calibrated with: some hundred of what the network will see.
        progress: called after each member of each step.

    Raises:
        BundleError: a file of the bundle is missing or damaged.
        CacheError: there is no cache, or it cannot be written.
        RuntimeInputError: the samples cannot be read, or are not what the network takes.
        TuneError: the network cannot be made in int8, is not computed right, or costs more than the budget; nothing
            was cached.
    """
    options, start = options or Int8Options(), time.perf_counter()
    manifest = read_manifest(bundle)
    work = _Work(bundle, manifest, samples, options, progress)
    recipe = Recipe(
        artifact="onnx-int8",
        called=f"the int8 graphs of {manifest.name}",
        refusal=f"the int8 network of {manifest.name} is not computed right",
        made_for=f"any machine; made with onnxruntime {onnxruntime.__version__}",
        precision=Precision.INT8,
        write=work.write,
        judge=work.judge,
    )
    done = publish(bundle, manifest, int8_entry(manifest), recipe, progress)
    if done.parity is None or work.report is None:
        raise RuntimeError("it was published without having been judged")
    return Int8Bundle(path=done.path, parity=done.parity, report=work.report, seconds=time.perf_counter() - start)


class _Work:
    """The steps between an empty folder and a judged one."""

    def __init__(
        self, bundle: Path, manifest: Manifest, place: str | Path, options: Int8Options, progress: Progress
    ) -> None:
        self._bundle, self._manifest, self._options, self._progress = bundle, manifest, options, progress
        needs = options.budget.accuracy_drop is not None
        self._samples = read_calibration(place, manifest, options.reading, options.samples, needs_targets=needs)
        self.report: Int8Report | None = None
        self._quantised: Quantised | None = None

    def write(self, folder: Path) -> None:
        """Write the graphs into a folder."""
        made = quantise(
            self._bundle,
            self._manifest,
            self._samples,
            range(self._manifest.members),
            method=self._options.method,
            least_decibels=self._options.least_decibels,
            progress=self._progress,
        )
        onnx.save(made.rounded.network, folder / INT8_NETWORK_FILE)
        onnx.save(made.rounded.maker, folder / INT8_MAKER_FILE)
        self._quantised = made

    def judge(self, folder: Path) -> ArtifactReport:
        """Whether the graphs in a folder are computed right; where they are, report and samples for loads join them.

        Raises:
            TuneFailedError: they cost more than the budget.
        """
        if self._quantised is None:
            raise RuntimeError("nothing was written")
        first = taken(self._manifest.signature, self._samples.judged, [0])
        proof = prove(folder, self._bundle, self._manifest, first, self._progress)
        if proof.report.passed:
            costs, ensemble, checked = self._costs(folder)
            self.report = self._reported(self._quantised, costs, ensemble, proof.levels)
            np.savez(folder / INT8_SAMPLES_FILE, **checked)  # type: ignore[arg-type]
            (folder / INT8_REPORT_FILE).write_text(
                json.dumps(to_json(self.report), indent=2) + "\n", encoding="utf-8", newline="\n"
            )
            self._options.budget.check(ensemble, "the mean of all members")
        return proof.report

    def _costs(self, folder: Path) -> tuple[list[Cost], Cost, dict[str, Array]]:
        """Of each member and of the mean; and what loads compare."""
        manifest, samples, output = self._manifest, self._samples, judged_output(self._manifest)
        plain = OnnxruntimeEngine(self._bundle, manifest, "cpu", None)
        small = OnnxruntimeEngine(self._bundle, manifest, "cpu", None, precision=Precision.INT8, int8=folder)
        exact, found, checked = [], [], {}
        for member in range(manifest.members):
            predictors = plain.materialise(member), small.materialise(member)
            both = [outputs_of(one, manifest.signature, output, samples.judged) for one in predictors]
            exact.append(both[0])
            found.append(both[1])
            if member == 0:
                checked = _samples_to_check(manifest, samples, predictors)
            del predictors
            self._progress("judge", member + 1, manifest.members)
        costs = [member_cost(*pair, output, samples.targets) for pair in zip(exact, found, strict=True)]
        return costs, ensemble_cost(exact, found, output, samples.targets), checked

    def _reported(self, made: Quantised, costs: Sequence[Cost], ensemble: Cost, levels: float) -> Int8Report:
        return Int8Report(
            version=__version__,
            samples=self._samples.place,
            calibrated=self._samples.samples,
            judged=batch_size(self._manifest.signature, self._samples.judged),
            apart=self._samples.apart,
            method=self._options.method,
            layers=made.layers,
            kept=made.kept,
            numbers=tuple(range(self._manifest.members)),
            members=tuple(costs),
            ensemble=ensemble,
            levels=levels,
            integer_products=integer_products(),
        )


def _samples_to_check(
    manifest: Manifest, samples: Calibration, predictors: Sequence[Callable[[Mapping[str, Array]], Mapping[str, Array]]]
) -> dict[str, Array]:
    """Some samples with what member 0 gives in int8, and how far that may be off elsewhere."""
    inputs = taken(manifest.signature, samples.judged, slice(0, _CHECKED))
    exact, found = (predict(inputs) for predict in predictors)
    held: dict[str, Array] = {"member": np.array(0, np.int64)}
    held |= {f"input.{name}": np.asarray(value) for name, value in inputs.items()}
    for output in manifest.outputs:
        if output.is_floating:
            rows = (found[output.name], exact[output.name])
            cost = row_errors(*(rows if output.has_batch else (rows[0][None], rows[1][None])))
            held[f"output.{output.name}"] = found[output.name]
            held[f"limit.{output.name}"] = np.maximum(_LEAST_LIMIT, _MULTIPLE * cost)
    return held
