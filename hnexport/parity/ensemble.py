"""Parity of the artifacts that run several members in one call: logits, mean probabilities, entropies."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Format, Manifest
from hnexport.bundle.onnx_data import check_model
from hnexport.parity.compare import compare_member, relative_l2
from hnexport.parity.providers import Device, onnx_session
from hnexport.parity.results import ArtifactReport, Check
from hnexport.parity.tolerances import Tolerance

__all__ = ["ENSEMBLES", "Ensemble", "verify_ensemble"]

Array = NDArray[np.generic]
Outputs = tuple[Array, Array, Array, Array]


class Ensemble:
    """A loaded artifact: `run(cond_ids, images)` gives what `hnexport.export.ensemble` names, in that order."""

    def __init__(self, runtime: str, run: Callable[[NDArray[np.int64], Array], Outputs]) -> None:
        self.runtime = runtime
        self.run = run


def onnx_ensemble(bundle: Path, device: Device) -> Ensemble:
    """`ensemble.onnx` under onnxruntime."""
    check_model(bundle / "ensemble.onnx")
    session = onnx_session(bundle / "ensemble.onnx", onnxruntime.SessionOptions(), device)

    def run(cond_ids: NDArray[np.int64], images: Array) -> Outputs:
        return tuple(session.run(None, {"cond_ids": cond_ids, "image": images}))

    return Ensemble(f"onnxruntime {onnxruntime.__version__} {device.provider}", run)


def torchscript_ensemble(bundle: Path, device: Device) -> Ensemble:
    """The method `ensemble` of `model.pt` under `torch.jit`."""
    where = "cuda" if device.provider == "cuda" else "cpu"
    module = torch.jit.load(str(bundle / "model.pt"), map_location=where).eval()  # type: ignore[no-untyped-call]

    def run(cond_ids: NDArray[np.int64], images: Array) -> Outputs:
        with torch.inference_mode():
            outputs = module.ensemble(torch.from_numpy(cond_ids).to(where), torch.from_numpy(images).to(where))
        return tuple(output.cpu().numpy() for output in outputs)

    return Ensemble(f"torch {torch.__version__} {where}", run)


# The artifact's name, the format it belongs to, how to load it.
ENSEMBLES: Mapping[str, tuple[Format, Callable[[Path, Device], Ensemble]]] = MappingProxyType(
    {
        "onnx-ensemble": (Format.ONNX, onnx_ensemble),
        "torchscript-ensemble": (Format.TORCHSCRIPT, torchscript_ensemble),
    }
)


def verify_ensemble(
    name: str, ensemble: Ensemble, manifest: Manifest, golden: Golden, tolerance: Tolerance
) -> ArtifactReport:
    """Run all members at once, in reverse, and compare their logits and what they say together with the reference."""
    members = golden.members[::-1].copy()  # a view of one row would keep its negative stride
    logits, mean, entropy, information = ensemble.run(members, golden.images)
    reference = golden.logits[::-1]
    eager = relative_l2(golden.eager, golden.logits).max(axis=1)[::-1]
    alone = ensemble.run(members[-1:].copy(), golden.images)[0]
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
            _check_unknown_member(ensemble, manifest.spec.members, golden),
        ),
    )


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
        passed=bool(worst <= SUMMARY_TOLERANCE),
        detail=f"worst difference {worst:.1e}" if fitting else f"found shapes {[array.shape for array in found]}",
    )


# Sums of a few hundred float32 terms of size 1, with margin; entropies are at most log(classes).
SUMMARY_TOLERANCE = 1e-5


def _check_unknown_member(ensemble: Ensemble, members: int, golden: Golden) -> Check:
    """A member that does not exist spoils its own logits and every mean, and no other member's logits."""
    images = golden.images[:1]
    logits, *means = ensemble.run(np.array([golden.members[0], members], dtype=np.int64), images)
    own = bool(np.isnan(logits[1]).all()) and all(bool(np.isnan(mean).all()) for mean in means)
    other = bool(np.isfinite(logits[0]).all())
    detail = f"checked {members}" if own and other else f"its logits and the means NaN: {own}; others finite: {other}"
    return Check(name="an id that does not exist makes the means NaN", passed=own and other, detail=detail)
