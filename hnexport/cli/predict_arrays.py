"""`hnexport predict --out`: what the members say, as arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.names import COND_IDS
from hnexport.publishing import Rules, check_place, staged_file
from hnexport.spec import Signature
from hnexport.spec.summaries import SummaryKind, summaries

if TYPE_CHECKING:
    from hnexport.runtime.uncertainty import EnsemblePrediction, EnsembleValue

__all__ = ["check_target", "write_arrays"]

_RULES = Rules(error=RuntimeInputError, called="--out", what="file", forced_by="")


def check_target(target: Path | None, signature: Signature) -> None:
    """Refuse before the work what `write_arrays` would refuse after it.

    Raises:
        RuntimeInputError: another kind of file, a `.npy` for several outputs, or something is there already.
    """
    if target is None:
        return
    suffix = target.suffix.lower()
    if suffix not in (".npz", ".npy"):
        raise RuntimeInputError(
            f"--out must end in .npz or .npy, or in .parquet to score a data set, found {target.name!r}"
        )
    if suffix == ".npy" and len(signature.outputs) > 1:
        raise RuntimeInputError(f"a .npy file holds one array, this network has {len(signature.outputs)} outputs: .npz")
    check_place(target, _RULES)


def write_arrays(
    target: Path, signature: Signature, outputs: "Mapping[str, EnsemblePrediction | EnsembleValue]"
) -> None:
    """Write the members' outputs, `[member, …]` each: in a `.npz` under the names of `ensemble.onnx`, with its ids.

    Raises:
        RuntimeInputError: the file cannot be written, or something is at its place.
    """
    arrays = _arrays(signature, outputs)
    with staged_file(target, _RULES) as new, new.open("wb") as file:
        if target.suffix.lower() == ".npy":
            np.save(file, arrays[f"member_{signature.outputs[0].name}"])
        else:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # no name is allow_pickle


def _arrays(
    signature: Signature, outputs: "Mapping[str, EnsemblePrediction | EnsembleValue]"
) -> dict[str, NDArray[Any]]:
    from hnexport.runtime.uncertainty import AnytimePrediction

    members = next(iter(outputs.values())).members
    found: dict[str, NDArray[Any]] = {COND_IDS: np.array(members, np.int64)}
    for summary in summaries(signature):
        found[summary.name] = np.asarray(getattr(outputs[summary.of], _attribute(summary.kind, outputs[summary.of])))
    for output in outputs.values():
        if isinstance(output, AnytimePrediction):
            found["members_used"] = output.members_used
    return found


def _attribute(kind: SummaryKind, output: "EnsemblePrediction | EnsembleValue") -> str:
    if kind is SummaryKind.MEMBERS:
        return "logits" if hasattr(output, "logits") else "values"
    return "probabilities" if kind is SummaryKind.MEAN_PROBABILITIES else str(kind)
