"""The last layers of a captured hypernetwork are bases: stored, counted and rounded as those of any other."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from live_pairs import MEMBERS, PAIRS
from onnx import TensorProto
from thorough import first

from hnexport.build import BuildOptions, build
from hnexport.bundle import Format, read_manifest
from hnexport.errors import CheckpointError, SpecError
from hnexport.families import family
from hnexport.hypernet.bases import plain_bases
from hnexport.networks.hypnettorch.bases import with_bases
from hnexport.networks.hypnettorch.pair import HypnettorchEnsemble
from hnexport.networks.wide_resnet.checkpoints import HypnettorchOverrides, import_hypnettorch
from hnexport.parity import verify
from hnexport.spec import BasisDtype, StoredKind

LAST_LAYERS = {
    "HMLP, MLP": {"hnet": (7, 490)},
    "ChunkedHMLP, MLP": {"hnet": (7, 500)},
    "StructuredHMLP, one chunk a tensor, MLP": {
        str(n): (7, size) for n, size in enumerate((192, 12, 144, 12, 120, 10))
    },
    "HContainer with heads, MLP": {"0": (7, 360)},
    "deep ensemble, MLP": {},
}


def live(name: str) -> HypnettorchEnsemble:
    found = PAIRS[name].ensemble()
    assert isinstance(found, HypnettorchEnsemble)
    return found


@pytest.fixture(scope="module")
def hmlp() -> HypnettorchEnsemble:
    return live("HMLP, MLP")


@pytest.mark.parametrize("name", LAST_LAYERS)
def test_every_last_layer_is_a_basis_as_bases_are_everywhere(name: str) -> None:
    found = live(name)
    bases = {item.hypernet: item for item in found.stored if item.kind is StoredKind.BASIS}
    assert {hypernet: item.shape for hypernet, item in bases.items()} == LAST_LAYERS[name]
    assert {item.name for item in bases.values()} == {f"hypernet.{hypernet}.basis" for hypernet in bases}
    biases = {item.hypernet: item.shape for item in found.stored if item.kind is StoredKind.BASIS_BIAS}
    assert biases == {hypernet: (shape[1],) for hypernet, shape in LAST_LAYERS[name].items()}
    counts = family("hypnettorch").counts(found)
    assert counts.get("internal hypernetworks", 0) == len(bases)


def test_a_basis_is_the_transposed_weight(hmlp: HypnettorchEnsemble) -> None:
    hnet, _ = PAIRS["HMLP, MLP"].modules()
    assert torch.equal(hmlp.tensors["hypernet.hnet.basis"], hnet.unconditional_params[2].detach().t())


def test_weights_are_counted_as_those_of_the_same_state_dicts() -> None:
    hnet, mnet = PAIRS["HContainer, WRN"].modules()
    sizes = HypnettorchOverrides(image_height=16, image_width=16)
    imported = import_hypnettorch(hnet.state_dict(), mnet.state_dict(), overrides=sizes).ensemble()
    expected = family("wide-resnet").counts(imported)
    assert dict(family("hypnettorch").counts(live("HContainer, WRN"))) == dict(expected)


def of_rounded(rounded: HypnettorchEnsemble, member: int, samples: torch.Tensor) -> torch.Tensor:
    """hypnettorch itself in float64, its last layer as it is stored."""
    hnet, mnet = PAIRS["HMLP, MLP"].modules()
    for module in (hnet, mnet):
        module.double()
    (basis,) = plain_bases(rounded.stored, rounded.tensors).values()
    hnet.unconditional_params[2].data = basis.double().t()
    return PAIRS["HMLP, MLP"].expected(hnet, mnet, member, samples.double())


@pytest.mark.parametrize(
    ("dtype", "kind", "most"),
    first(1, [(BasisDtype.FLOAT16, TensorProto.FLOAT16, 2**-11), (BasisDtype.INT4, TensorProto.UINT8, 0.2)]),
)
def test_bases_are_rounded_in_the_bundle_and_the_reference_is_hypnettorch_with_them(
    dtype: BasisDtype, kind: int, most: float, hmlp: HypnettorchEnsemble, tmp_path: Path
) -> None:
    options = BuildOptions(bases=dtype, formats=(Format.ONNX, Format.TORCHSCRIPT))
    built = build(hmlp, tmp_path / "bundle", options=options)
    assert built.parity.passed
    assert verify(built.path).passed
    rounding = read_manifest(built.path).basis_rounding
    assert rounding is not None
    assert 1e-5 < rounding.bases < most
    assert 1e-6 < rounding.logits < 20 * most
    graph = onnx.load(built.path / "model.onnx", load_external_data=False).graph
    found = [tensor.name for tensor in graph.initializer if tensor.data_type == kind]
    assert found == ["hypernet.hnet.basis"]
    session = onnxruntime.InferenceSession(built.path / "model.onnx", providers=["CPUExecutionProvider"])
    module, samples = torch.jit.load(str(built.path / "model.pt")), PAIRS["HMLP, MLP"].samples(5, 3)
    rounded = hmlp.with_bases(dtype)
    for member in range(MEMBERS):
        expected = of_rounded(rounded, member, samples)
        given = rounded.double()(member, {"x": samples.double()})["output"]
        assert (given - expected).norm() <= 1e-12 * expected.norm()
        (found,) = session.run(None, {"cond_id": np.array(member), "x": samples.numpy()})
        for output in (torch.from_numpy(found), module(torch.tensor(member), samples)):
            assert (output.double() - expected).norm() <= 1e-6 * expected.norm()


def test_rounding_leaves_the_ensemble_and_the_users_modules_as_they_were(hmlp: HypnettorchEnsemble) -> None:
    before = hmlp.tensors["hypernet.hnet.basis"].clone()
    rounded = hmlp.with_bases(BasisDtype.FLOAT16)
    assert torch.equal(hmlp.tensors["hypernet.hnet.basis"], before)
    assert rounded.tensors["hypernet.hnet.basis"].dtype is torch.float16
    assert {item.dtype for item in rounded.stored if item.kind is not StoredKind.BASIS} == {"float32"}


def test_what_does_not_fit_float16_is_refused(hmlp: HypnettorchEnsemble) -> None:
    large = dataclasses.replace(hmlp, generator=copy.deepcopy(hmlp.generator))
    with torch.no_grad():
        large.tensors["hypernet.hnet.basis"].mul_(1e6)
    with pytest.raises(CheckpointError, match="does not fit float16"):
        large.with_bases(BasisDtype.FLOAT16)


def test_an_ensemble_without_last_layers_has_no_bases() -> None:
    with pytest.raises(SpecError, match="mlp-3 has no last linear layer that all members share: no bases"):
        live("deep ensemble, MLP").with_bases(BasisDtype.FLOAT16)


def linear(x: Any, weight: str) -> list[Any]:
    return ["aten.linear.default", [x, {"tensor": weight}], {}]


RELU = "aten.relu.default"
CASES: dict[str, tuple[list[Any], dict[str, bool]]] = {
    "only the last of several": (
        [linear({"tensor": "e"}, "w"), [RELU, [{"step": 0}], {}], linear({"step": 1}, "v")],
        {"v": True},
    ),
    "what is done with a chunk does not matter": (
        [linear({"tensor": "e"}, "w"), ["aten.softplus.default", [{"step": 0}], {}]],
        {"w": True},
    ),
    "a product with a matrix as it lies": (
        [["aten.matmul.default", [{"tensor": "e"}, {"tensor": "w"}], {}]],
        {"w": False},
    ),
    "used twice as one": ([linear({"tensor": "e"}, "w"), linear({"tensor": "f"}, "w")], {"w": True}),
    "used otherwise too": ([linear({"tensor": "e"}, "w"), [RELU, [{"tensor": "w"}], {}]], {}),
    "used before itself": ([linear({"tensor": "e"}, "w"), linear({"step": 0}, "w")], {}),
    "computed": ([[RELU, [{"tensor": "w"}], {}], ["aten.linear.default", [{"tensor": "e"}, {"step": 0}], {}]], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_which_tensors_are_bases(name: str) -> None:
    steps, expected = CASES[name]
    spec = {"steps": steps, "outputs": {"slot": {"step": len(steps) - 1}}}
    written, bases, _ = with_bases(spec, lambda tensor: tensor in ("w", "v"))
    assert bases == expected
    casts = [step for step in written["steps"] if step[0] == "aten.type_as.default"]
    assert {step[1][0]["tensor"] for step in casts} == set(expected)
    assert written["outputs"]["slot"] == {"step": len(written["steps"]) - 1}
