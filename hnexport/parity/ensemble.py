"""Parity of the artifacts that run several members in one call: logits, mean probabilities, entropies."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Format, Manifest
from hnexport.errors import HnexportError, ParityError
from hnexport.export.ensemble import ENSEMBLE_OUTPUTS
from hnexport.names import TORCHSCRIPT_FILE
from hnexport.parity.batches import in_parts, said
from hnexport.parity.compare import compare_member
from hnexport.parity.limits import Limits
from hnexport.parity.onnx_runners import own_model
from hnexport.parity.programs import open_program
from hnexport.parity.providers import Device
from hnexport.parity.results import ArtifactReport, Check
from hnexport.parity.tolerances import Tolerance
from hnexport.rows import relative_l2
from hnexport.trust import NOBODY, Trust

__all__ = ["ENSEMBLES", "Ensemble", "in_batches", "verify_ensemble"]

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]
Outputs = Mapping[str, Array]


class Ensemble:
    """A loaded artifact: `run(cond_ids, images)` gives what `hnexport.export.ensemble` names, in that order."""

    def __init__(
        self,
        runtime: str,
        run: Callable[[NDArray[np.int64], Inputs], Outputs],
        signature_faults: tuple[str, ...] = (),
    ) -> None:
        self.runtime = runtime
        self.run = run
        self.signature_faults = signature_faults


def onnx_ensemble(bundle: Path, manifest: Manifest, device: Device, trust: Trust = NOBODY) -> Ensemble:
    """`ensemble.onnx` under onnxruntime."""
    runner = own_model(bundle, manifest, device, together=True)
    return Ensemble(
        f"onnxruntime {onnxruntime.__version__} {device.provider}", runner.run_together, runner.signature_faults
    )


def torchscript_ensemble(bundle: Path, manifest: Manifest, device: Device, trust: Trust = NOBODY) -> Ensemble:
    """The method `ensemble` of `model.pt` under `torch.jit`; confined, unless it is trusted."""
    program = open_program(bundle / TORCHSCRIPT_FILE, manifest, device, trust, own=True)
    return Ensemble(program.runtime, program.ensemble, program.signature_faults)


# The artifact's name, the format it belongs to, how to load it.
ENSEMBLES: Mapping[str, tuple[Format, Callable[..., Ensemble]]] = MappingProxyType(
    {
        "onnx-ensemble": (Format.ONNX, onnx_ensemble),
        "torchscript-ensemble": (Format.TORCHSCRIPT, torchscript_ensemble),
    }
)


@np.errstate(invalid="ignore", over="ignore")  # logits that are not finite are an answer
def verify_ensemble(
    name: str, ensemble: Ensemble, manifest: Manifest, golden: Golden, tolerance: Tolerance
) -> ArtifactReport:
    """Run all members at once, in reverse, and compare their logits and what they say together with the reference.

    Raises:
        ParityError: the artifact cannot be run, or returns logits of another shape.
    """
    members = golden.members[::-1].copy()  # a view of one row would keep its negative stride
    logits, mean, entropy, information = _run(name, ensemble, members, golden.images)
    reference = golden.logits[::-1]
    if logits.shape != reference.shape:
        raise ParityError(f"{name}: expected logits of shape {list(reference.shape)}, found {list(logits.shape)}")
    eager = golden.eager["logits"].max(axis=1)[::-1]
    alone = _run(name, ensemble, members[-1:].copy(), golden.images)[0]
    comparisons = [
        compare_member(int(member), [logits[row]], [reference[row]], float(eager[row]), tolerance)
        for row, member in enumerate(members)
    ]
    return ArtifactReport(
        artifact=name,
        runtime=ensemble.runtime,
        comparisons=tuple(reversed(comparisons)),
        ensemble_error=float(relative_l2(logits.astype(np.float64).mean(axis=0), reference.mean(axis=0)).max()),
        repeat_spread=float(relative_l2(alone[0].astype(np.float64), logits[-1].astype(np.float64)).max()),
        checks=(
            _check_summary(logits, (mean, entropy, information)),
            _check_unknown_member(name, ensemble, manifest.spec.members, golden),
        ),
    )


def in_batches(
    run: Callable[[NDArray[np.int64], Inputs], Outputs], limits: Limits
) -> Callable[[NDArray[np.int64], Inputs], Outputs]:
    """The same for any number of images, where the artifact runs batches of some sizes only."""
    if limits.runs_any_batch:
        return run

    def run_parts(cond_ids: NDArray[np.int64], inputs: Inputs) -> Outputs:
        parts = []
        for batch, count in in_parts(inputs["image"], limits):
            logits, *rest = run(cond_ids, {"image": batch}).values()
            parts.append((logits[:, :count], *(array[:count] for array in rest)))
        whole = (np.concatenate(arrays, axis=0 if i else 1) for i, arrays in enumerate(zip(*parts, strict=True)))
        return dict(zip(ENSEMBLE_OUTPUTS, whole, strict=True))

    return run_parts


def _run(name: str, ensemble: Ensemble, cond_ids: NDArray[np.int64], images: Array) -> tuple[Array, ...]:
    try:
        outputs = tuple(ensemble.run(cond_ids, {"image": images}).values())
    except HnexportError:
        raise
    except Exception as error:  # each runtime has its own
        raise ParityError(
            f"{name} on {ensemble.runtime} cannot run the members {cond_ids.tolist()} at once: {said(error)}"
        ) from error
    if len(outputs) != len(ENSEMBLE_OUTPUTS) or np.ndim(outputs[0]) != 3:
        raise ParityError(f"{name}: expected {', '.join(ENSEMBLE_OUTPUTS)}, found {len(outputs)} outputs")
    return outputs


def summarise(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean probabilities `[batch, class]`, predictive entropy and mutual information `[batch]` in float64.

    Written from the definitions, `H[q]` and `H[q] - mean_m H[p_m]`, unlike what it checks.
    """
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    q = p.mean(axis=0)
    entropy = _entropy(q)
    return q, entropy, entropy - _entropy(p).mean(axis=0)


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=-1))


def _check_summary(logits: Array, found: tuple[Array, Array, Array]) -> Check:
    """The artifact's own logits, summarised in float64: only the summary's arithmetic can differ."""
    expected = summarise(logits.astype(np.float64))
    fitting = all(array.shape == wanted.shape for array, wanted in zip(found, expected, strict=True))
    worst = np.inf
    if fitting:
        worst = max(
            float(np.abs(array.astype(np.float64) - wanted).max())
            for array, wanted in zip(found, expected, strict=True)
        )
    return Check(
        name="mean probabilities and entropies follow from the logits",
        passed=bool(worst <= (SUMMARY_TOLERANCE if logits.dtype != np.float16 else SUMMARY_TOLERANCE_FLOAT16)),
        detail=f"worst difference {worst:.1e}" if fitting else f"found shapes {[array.shape for array in found]}",
    )


# Sums of a few hundred float32 terms of size 1, with margin; entropies are at most log(classes).
SUMMARY_TOLERANCE = 1e-5

# float16 rounds logits of up to 32 by 2^-7 = 8e-3; probabilities move by as much, entropies by a few times that.
SUMMARY_TOLERANCE_FLOAT16 = 5e-2


def _check_unknown_member(name: str, ensemble: Ensemble, members: int, golden: Golden) -> Check:
    """A member that does not exist spoils its own logits and every mean, and no other member's logits."""
    images = golden.images[:1]
    logits, *means = _run(name, ensemble, np.array([golden.members[0], members], dtype=np.int64), images)
    own = bool(np.isnan(logits[1]).all()) and all(bool(np.isnan(mean).all()) for mean in means)
    other = bool(np.isfinite(logits[0]).all())
    detail = f"checked {members}" if own and other else f"its logits and the means NaN: {own}; others finite: {other}"
    return Check(name="an id that does not exist makes the means NaN", passed=own and other, detail=detail)
