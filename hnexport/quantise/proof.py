"""Every member's int8 network as onnxruntime computes it, against float64."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.onnx_data import read_model
from hnexport.errors import ParityError
from hnexport.parity.results import ArtifactReport, Comparison
from hnexport.parity.tolerances import EAGER_FLOOR, TOLERANCES, Precision
from hnexport.progress import Progress, no_progress
from hnexport.quantise.makers import Members
from hnexport.quantise.replay import LEVEL_LIMIT, replay, with_levels
from hnexport.rows import relative_l2
from hnexport.runtime.int8 import Int8Graphs, without_saturation

__all__ = ["Proof", "prove", "proved"]

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was found.

    Attributes:
        levels: the worst distance of a level from the exact value.
    """

    report: ArtifactReport = field(repr=False)
    levels: float


def prove(folder: Path, bundle: Path, manifest: Manifest, inputs: Arrays, progress: Progress = no_progress) -> Proof:
    """Compare every member of the graphs in a folder.

    Args:
        inputs: samples; one is enough, since every number in it counts.
        progress: called after each member.

    Raises:
        ParityError: onnxruntime, or ONNX's reference evaluator, cannot compute the network.
    """
    graphs, held = Int8Graphs(folder), Members(bundle, manifest)
    network = read_model(graphs.network)
    found = []
    for member in range(manifest.members):
        found.append(proved(network, graphs.parameters(member, held.slots(member)), inputs, member))
        progress("verify onnx-int8", member + 1, manifest.members)
    return proof("onnx-int8", found)


def proof(artifact: str, found: list[tuple[Comparison, float]]) -> Proof:
    """The report on members."""
    report = ArtifactReport(
        artifact=artifact,
        runtime=f"onnxruntime {onnxruntime.__version__} cpu, int8",
        comparisons=tuple(comparison for comparison, _ in found),
        checks=(),
        ensemble_error=np.nan,
        repeat_spread=np.nan,
    )
    return Proof(report=report, levels=max(levels for _, levels in found))


def proved(network: onnx.ModelProto, parameters: Arrays, inputs: Arrays, member: int) -> tuple[Comparison, float]:
    """One member: the comparison, and the worst distance of a level.

    Raises:
        ParityError: as `prove`.
    """
    model, names = with_levels(network)
    outputs = [item.name for item in network.graph.output]
    known = _run(network, parameters, inputs, outputs)
    marked = _run(model, parameters, inputs, [*outputs, *names])
    if not all(np.array_equal(known[name], marked[name], equal_nan=True) for name in outputs):
        raise ParityError("onnxruntime computes something else where the levels of its int8 network are asked for")
    exact = replay(network, parameters, inputs, marked)
    errors = [
        float(np.max(relative_l2(known[name].reshape(1, -1), exact.outputs[name].reshape(1, -1))))
        for name in outputs
        if known[name].dtype.kind == "f"
    ]
    worst = max(errors, default=0.0)
    limit = TOLERANCES[Precision.FLOAT32].relative_l2
    reason = ""
    if not exact.levels <= LEVEL_LIMIT:
        reason = (
            f"{exact.worst.removesuffix('/uint8')} is {exact.levels:.3g} levels from the exact value, at most "
            f"{LEVEL_LIMIT:g} is rounding: sums of products left the range of this processor's instructions"
        )
    elif not worst <= limit:
        reason = f"relative L2 error {worst:.2e} behind the last rounding, allowed {limit:.0e}"
    return Comparison(
        member=member,
        worst_absolute=np.nan,
        relative_l2=worst,
        multiple_of_eager=worst / EAGER_FLOOR,
        top1_agreement=1.0,
        margin=np.inf,
        passed=not reason,
        reason=reason,
    ), exact.levels


def _run(network: onnx.ModelProto, parameters: Arrays, inputs: Arrays, names: list[str]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    without_saturation(options)
    own = [item.name for item in network.graph.initializer if item.name in parameters]
    try:
        options.add_external_initializers(
            own, [onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(parameters[name], order="C")) for name in own]
        )
        session = onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    except Exception as error:  # onnxruntime's exceptions have no common root
        raise ParityError(f"onnxruntime cannot compute the int8 network: {error}") from error
