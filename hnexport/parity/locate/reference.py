"""What an artifact is compared with: the network in PyTorch where its family knows it, else the bundle's own graph.

The weights come from the family's generator over the stored tensors, which the golden samples' fingerprints vouch for.
The graph is `network.onnx` with these weights: its nodes have the names of the modules that they come from. It computes
in float32, so its own outputs are compared with the golden samples first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import Format, Manifest
from hnexport.errors import ParityError
from hnexport.names import NETWORK_FILE
from hnexport.parity.batches import first_samples
from hnexport.parity.double import conditions_of
from hnexport.parity.expected import Weights, expected_weights, known_ensemble
from hnexport.parity.locate.activations import output_error
from hnexport.parity.tolerances import TOLERANCES, Precision
from hnexport.parity.trace.onnx_trace import graph_points
from hnexport.parity.trace.points import Reference, reference_points

__all__ = ["PYTORCH", "Source", "reference_source"]

Array = NDArray[np.generic]
Inputs = Mapping[str, Array]

PYTORCH = "PyTorch float64"
"""What the first reference is called: the ensemble in PyTorch, in float64."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where references come from.

    Attributes:
        words: what computes them.
        share: how many times the tolerance an artifact may be off: twice where the reference is in float32 too.
        weights: every slot's tensor of a member.
        run: a member's points and outputs for some inputs.
    """

    words: str
    share: float
    weights: Weights
    run: Callable[[int, Inputs], Reference]


def reference_source(bundle: Path, manifest: Manifest, golden: Golden, tensors: Mapping[str, Tensor]) -> Source:
    """The best reference that the bundle allows.

    Raises:
        ParityError: the network is not known from data, and the bundle has no graph of it that agrees with the golden
            samples.
    """
    ensemble = known_ensemble(manifest, tensors)
    if ensemble is None:
        return _graph_source(bundle, manifest, golden, tensors)
    double = ensemble.double()

    def weights(member: int, inputs: Inputs) -> Mapping[str, Tensor]:
        with torch.no_grad():
            return double.weights(member, conditions_of(double, inputs))

    def run(member: int, inputs: Inputs) -> Reference:
        return reference_points(double, weights(member, inputs), inputs)

    return Source(words=PYTORCH, share=1.0, weights=weights, run=run)


def _graph_source(bundle: Path, manifest: Manifest, golden: Golden, tensors: Mapping[str, Tensor]) -> Source:
    if Format.ONNX not in manifest.formats:
        raise ParityError(
            f"{bundle} holds no ONNX files, and its network is known from its modules alone: there is nothing to "
            "follow the values in; build it with the format onnx"
        )
    weights = expected_weights(manifest, tensors)
    names = [output.name for output in manifest.outputs]

    def run(member: int, inputs: Inputs) -> Reference:
        given = {slot: tensor.numpy() for slot, tensor in weights(member, inputs).items()}
        own = {item.name: inputs[item.name] for item in manifest.signature.of_network}
        return graph_points(bundle / NETWORK_FILE, given, own, names)

    _check(bundle, manifest, golden, run)
    return Source(words=f"{NETWORK_FILE} of the bundle, float32", share=2.0, weights=weights, run=run)


def _check(bundle: Path, manifest: Manifest, golden: Golden, run: Callable[[int, Inputs], Reference]) -> None:
    """Compare the graph's outputs with the golden samples.

    Raises:
        ParityError: they differ.
    """
    found = run(int(golden.members[0]), first_samples(manifest.signature, golden, golden.samples)).outputs
    for output in manifest.outputs:
        if not output.is_floating:
            continue  # float32 may choose otherwise
        error = output_error(output, found[output.name], golden.outputs[output.name][0])
        if error > TOLERANCES[Precision.FLOAT32].relative_l2:
            raise ParityError(
                f"{bundle / NETWORK_FILE} is no reference: its {output.name} departs from the golden samples by "
                f"{error:.1e}; compare with a bundle that verifies, or build this one again"
            )
