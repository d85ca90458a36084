"""What `hnexport predict --json` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hnexport.images import AppliedNormalisation
from hnexport.records import to_json
from hnexport.runtime.uncertainty import AnytimePrediction, EnsemblePrediction, EnsembleValue, taken_by

if TYPE_CHECKING:
    from hnexport.cli.render_predict import Shown

__all__ = ["as_json_value"]


def as_json_value(shown: "Shown", *, word: str, normalised: Sequence[AppliedNormalisation | None] = ()) -> Any:
    """One object for each sample where the network has one output of logits, one a sample; otherwise one in all.

    Args:
        normalised: of each sample, where pictures were read.
    """
    how = [None if one is None else to_json(one) for one in normalised]
    name, only = next(iter(shown.outputs.items()))
    if len(shown.outputs) == 1 and isinstance(only, EnsemblePrediction) and shown.is_plain(name):
        found = [
            _sample(only, number, sample, shown.classes(name), word) for number, sample in enumerate(shown.samples)
        ]
        return [one | {"normalisation": said} for one, said in zip(found, how, strict=True)] if how else found
    return {
        "samples": list(shown.samples),
        **({"normalisation": how} if how else {}),
        "members": list(only.members),
        "outputs": {
            name: _output(output) | ({"labels": list(shown.labels[name])} if name in shown.labels else {})
            for name, output in shown.outputs.items()
        },
    }


def _sample(prediction: EnsemblePrediction, number: int, name: str, labels: tuple[str, ...], word: str) -> Any:
    return {
        word: name,
        "labels": list(labels),
        "members": {
            str(member): {
                "logits": _finite(prediction.logits[row, number]),
                "probabilities": _finite(prediction.member_probabilities[row, number]),
            }
            for row, member in enumerate(prediction.members[: taken_by(prediction, number)])
        },
        **({"members_used": taken_by(prediction, number)} if isinstance(prediction, AnytimePrediction) else {}),
        "mean_probabilities": _finite(prediction.probabilities[number]),
        "predictive_entropy_nats": _finite(prediction.predictive_entropy[number]),
        "mutual_information_nats": _finite(prediction.mutual_information[number]),
        "votes": prediction.votes[number].tolist(),
    }


def _output(output: EnsemblePrediction | EnsembleValue) -> dict[str, Any]:
    """Arrays as nested lists, the member first in what each says."""
    if isinstance(output, EnsembleValue):
        value: dict[str, Any] = {"kind": "value", "members": _finite(output.values)}
        if output.mean is not None and output.variance is not None:
            value |= {"mean": _finite(output.mean), "variance": _finite(output.variance)}
        return value
    return {
        "kind": "logits",
        "members": _finite(output.logits),
        "mean_probabilities": _finite(output.probabilities),
        "predictive_entropy_nats": _finite(output.predictive_entropy),
        "mutual_information_nats": _finite(output.mutual_information),
        "votes": output.votes.tolist(),
    }


def _finite(values: NDArray[np.generic] | np.generic) -> Any:
    """Python numbers, with None for what JSON cannot say."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array.tolist()
    found = array.astype(np.float64).astype(object)
    found[~np.isfinite(array)] = None
    return found.tolist()
