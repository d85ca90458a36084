"""A network in int8 is held to float64 level by level: what is wrong anywhere is found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from shared import Built

from hnexport.evaluate.targets import ReadOptions
from hnexport.quantise import proof
from hnexport.quantise.data import read_calibration
from hnexport.quantise.makers import Members
from hnexport.quantise.plan import quantise
from hnexport.quantise.proof import proved
from hnexport.rows import taken

Made = tuple[onnx.ModelProto, dict[str, NDArray[np.generic]], dict[str, NDArray[np.generic]]]


@pytest.fixture(scope="module")
def made(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The network of the small bundle, member 1's parameters, and a sample."""
    shape = built.manifest.signature.inputs[0].shape[1:]
    path = tmp_path_factory.mktemp("samples") / "images.npy"
    np.save(path, np.random.default_rng(5).normal(size=(16, *shape)).astype(np.float32))
    samples = read_calibration(path, built.manifest, ReadOptions(), 12)
    rounded = quantise(built.path, built.manifest, samples, [1]).rounded
    parameters = Members(built.path, built.manifest).parameters(rounded.maker, rounded.parameters, 1)
    return rounded.network, parameters, taken(built.manifest.signature, samples.judged, [0])


def test_onnxruntime_computes_the_rounded_network(
    made: Made,
) -> None:
    comparison, levels = proved(*made, 1)
    assert comparison.passed
    assert levels == pytest.approx(0.5, abs=1e-3)
    assert comparison.relative_l2 < 1e-6


@pytest.mark.parametrize("value", ["group2.block1/Relu", "group2.block1/Relu_2"], ids=["norm", "convolution"])
def test_a_sum_that_left_its_range_is_found(
    value: str,
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where two products of uint8 and int8 are summed in 16 bits: a level that should be larger is not."""
    run = proof._run

    def saturated(
        network: onnx.ModelProto,
        parameters: Mapping[str, NDArray[np.generic]],
        inputs: Mapping[str, NDArray[np.generic]],
        names: Sequence[str],
    ) -> dict[Any, Any]:
        found = run(network, parameters, inputs, names)
        return {
            name: np.minimum(levels, 60).astype(np.uint8) if name == f"{value}/uint8" else levels
            for name, levels in found.items()
        }

    monkeypatch.setattr(proof, "_run", saturated)
    comparison, levels = proved(*made, 1)
    assert not comparison.passed
    assert levels > 1
    assert f"{value} is" in comparison.reason
    assert "left the range of this processor's instructions" in comparison.reason


def test_what_is_wrong_behind_the_last_rounding_is_found(
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = proof._run

    def shifted(
        network: onnx.ModelProto,
        parameters: Mapping[str, NDArray[np.generic]],
        inputs: Mapping[str, NDArray[np.generic]],
        names: Sequence[str],
    ) -> dict[str, Any]:
        found = run(network, parameters, inputs, names)
        return found | {"logits": np.multiply(found["logits"], np.float32(1 + 1e-4))}

    monkeypatch.setattr(proof, "_run", shifted)
    comparison, _ = proved(*made, 1)
    assert not comparison.passed
    assert "behind the last rounding" in comparison.reason


def test_weights_are_symmetric_with_a_scale_for_each_channel(
    made: Made,
) -> None:
    network, parameters, _ = made
    weights = {name: value for name, value in parameters.items() if value.dtype == np.int8 and value.ndim > 1}
    assert len(weights) > 10
    for name, value in weights.items():
        scale = parameters[name.replace("/weights", "/scale_w")]
        axis = 0 if len(scale) == value.shape[0] else 1
        most = np.abs(np.moveaxis(value, axis, 0).reshape(len(scale), -1).astype(np.int16)).max(axis=1)
        assert (most == 127).all(), name  # every channel uses its whole range
    assert not any(node.op_type == "Relu" for node in network.graph.node if node.output[0].endswith("Relu_2"))
