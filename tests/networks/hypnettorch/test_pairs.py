"""The 48 pairs of hypernetwork and main network, and what hypnettorch itself computes with them in float64."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from live_pairs import MEMBERS, PAIRS, Pair
from thorough import first, only
from torch import Tensor

from hnexport.build import build
from hnexport.ensemble import Ensemble
from hnexport.errors import HnexportError
from hnexport.export import capture, write_onnx, write_torchscript
from hnexport.names import MODEL_FILE
from hnexport.parity import verify
from hnexport.parity.locate import locate

TOLERANCE = 1e-5
BATCH = 5  # not the traced one
POSSIBLE = [name for name, pair in PAIRS.items() if not pair.refused]
# A file is composed of two halves, and both halves of these are in the file of another pair: `make fuzz` writes theirs.
ALIKE = (
    "HMLP, ResNet",
    "HMLP, WRN",
    "HMLP, SimpleRNN",
    *(f"ChunkedHMLP, {name}" for name in ("LeNet", "ResNet", "ResNetIN", "SimpleRNN", "WRN", "ZenkeNet")),
    "ChunkedHMLP by member, ResNet",
    "StructuredHMLP, one chunk a tensor, ResNet",
    "batch ensemble, ResNet",
    "deep ensemble, WRN",
    "HContainer with heads, MLP",
    "HContainer with heads, ResNet",
)
WRITTEN = [name for name in POSSIBLE if name not in ALIKE]
IN_EVERY_RUN = (
    "HMLP, MLP",
    "HContainer, WRN",
)
FURTHER = [pytest.param(name, marks=pytest.mark.fuzz) for name in ALIKE if os.environ.get("HNEXPORT_FUZZ") == "1"]


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


def references(pair: Pair, samples: Tensor) -> list[Tensor]:
    """hypnettorch's own outputs of each member in float64; its recurrent networks make their state in the default."""
    hnet, mnet = pair.modules()
    torch.set_default_dtype(torch.float64)
    try:
        doubled = [_double(module) for module in (hnet, mnet)]
        return [pair.expected(*doubled, member, samples.double()) for member in range(MEMBERS)]  # type: ignore[call-arg] # mypy takes it for another call
    finally:
        torch.set_default_dtype(torch.float32)


def _double(module: Any) -> Any:
    for part in [module, *getattr(module, "_hnets", [])]:
        part.double()
        for inner in getattr(part, "_hnets", []):
            inner.double()
    return module


def test_they_are_48() -> None:
    assert len(PAIRS) == 48
    assert sum(not pair.refused for pair in PAIRS.values()) == 45


def test_both_halves_of_every_pair_are_in_a_file_that_is_tried() -> None:
    halves = [(PAIRS[name].hnet, PAIRS[name].mnet) for name in WRITTEN]
    assert {PAIRS[name].hnet for name in ALIKE} <= {hnet for hnet, _ in halves}
    assert {PAIRS[name].mnet for name in ALIKE} <= {mnet for _, mnet in halves}


@pytest.mark.parametrize("name", only(ALIKE, "HMLP, WRN", "batch ensemble, ResNet", "HContainer with heads, MLP"))
def test_every_member_is_hypnettorchs_in_pytorch(name: str) -> None:
    pair = PAIRS[name]
    ensemble, samples = pair.ensemble(), pair.samples(BATCH, BATCH)
    expected = references(pair, samples)
    for member in range(MEMBERS):
        assert relative_error(ensemble(member, {"x": samples})["output"], expected[member]) < 4 * TOLERANCE
    assert relative_error(expected[0], expected[1]) > 1e-3  # members are not alike


@pytest.mark.parametrize("name", [*only(WRITTEN, *IN_EVERY_RUN), *FURTHER])
def test_every_member_is_hypnettorchs_in_onnx_and_torchscript_at_another_batch(name: str, tmp_path: Path) -> None:
    pair = PAIRS[name]
    ensemble = pair.ensemble()
    captured = capture(ensemble)
    write_onnx(captured, tmp_path, {})
    write_torchscript(captured, tmp_path / "model.pt")
    session = onnxruntime.InferenceSession(tmp_path / MODEL_FILE, providers=["CPUExecutionProvider"])
    module = torch.jit.load(str(tmp_path / "model.pt"))

    def run(cond_id: int, samples: Tensor) -> tuple[Tensor, Tensor]:
        (found,) = session.run(None, {"cond_id": np.array(cond_id), "x": samples.numpy()})
        return torch.from_numpy(found), module(torch.tensor(cond_id), samples)

    rows = pair.samples(BATCH, BATCH)
    known = references(pair, rows)
    for batch in (1, BATCH):
        samples, expected = rows[:batch], [outputs[:batch] for outputs in known]
        for member in range(MEMBERS):
            eager = relative_error(ensemble(member, {"x": samples})["output"], expected[member])
            for found in run(member, samples):
                assert found.shape == expected[member].shape
                assert relative_error(found, expected[member]) < max(TOLERANCE, 4 * eager)  # as parity judges
            # BioConvNet of 20 million weights: float32 itself loses 1e-5, and 2.1e-5 on another processor
            assert eager < 4 * TOLERANCE
        assert relative_error(expected[0], expected[1]) > 1e-3  # members are not alike
    for cond_id in (-1, MEMBERS, 2**63 - 1):
        assert all(found.isnan().all() for found in run(cond_id, samples))


@pytest.mark.parametrize("name", [name for name, pair in PAIRS.items() if pair.refused])
def test_what_cannot_be_an_ensemble_says_why(name: str) -> None:
    with pytest.raises(HnexportError, match=PAIRS[name].refused):
        PAIRS[name].ensemble()


def test_a_network_whose_batch_is_fixed_is_exported_with_it() -> None:
    pair = PAIRS["HMLP, ChunkSqueezer"]
    ensemble = Ensemble.from_hypnettorch(
        *pair.modules(), example_inputs=pair.samples(2, 9), dynamic_axes={"x": {}}, outputs=("logits",)
    )
    assert ensemble.signature.inputs[0].shape == (2, 64)


@pytest.mark.parametrize("name", first(1, ["HMLP, MLP", "HContainer with heads, SimpleRNN", "HContainer, WRN"]))
def test_a_bundle_is_built_verified_from_disk_and_followed(name: str, tmp_path: Path) -> None:
    result = build(PAIRS[name].ensemble(), tmp_path / "bundle")
    assert result.parity.passed
    assert verify(result.path).passed
    assert all(artifact.worst.relative_l2 < TOLERANCE for artifact in result.parity.artifacts)
    assert locate(result.path, "onnx").first is None


def test_what_belongs_to_the_hypernetwork_is_stored_once() -> None:
    stored = {item.name: item for item in PAIRS["HContainer, WRN"].ensemble().stored}
    basis = stored["hypernet.0_3.basis"]
    embedding = stored["hypernet.0.chunk_embedding"]
    assert (basis.kind.value, embedding.kind.value) == ("basis", "embedding")
    assert embedding.shape[0] == MEMBERS
    assert stored["shared.norm0.mean"].slot == "norm0.mean"
    assert stored["member.layer22.weight"].shape == (MEMBERS, 10, 64)
