"""A bundle whose network is wide enough to be folded, and a cache of the tests' own."""

from pathlib import Path

import pytest
from fixture_types import MakeTensors
from shared import Built, build_once
from thorough import only

from hnexport.build import BuildOptions
from hnexport.bundle.manifest import Format
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.spec import ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.spec import Activation, BasisDtype, HypernetSpec

# Widths 16, 16, 32, 64: wide enough for every block size, with chunks joined in groups 2 and 3.
NETWORK = WideResNetSpec(
    blocks_per_group=2, widening=1, classes=5, image=ImageSpec(height=8, width=8), feature_maps=(16, 16, 32, 64)
)
ONNX_ALONE = BuildOptions(formats=(Format.ONNX,))
CASES = {
    "linear": HypernetSpec(),
    "hidden layers with biases": HypernetSpec(hidden_layers=(6,), bias=True, activation=Activation.TANH),
    "float16 bases": HypernetSpec(basis_dtype=BasisDtype.FLOAT16),
    "float16 bases with biases": HypernetSpec(hidden_layers=(6,), bias=True, basis_dtype=BasisDtype.FLOAT16),
    "int4 bases with biases": HypernetSpec(hidden_layers=(5,), bias=True, basis_dtype=BasisDtype.INT4),
}


@pytest.fixture(scope="module", params=only(CASES, "linear"), ids=list(CASES))
def wide(request: pytest.FixtureRequest, make_tensors: MakeTensors) -> Built:
    spec = PipelineSpec(network=NETWORK, members=3, hypernet=CASES[request.param])
    return build_once(Checkpoint(spec=spec, tensors=make_tensors(spec), origin="a test"), ONNX_ALONE)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def wide_network() -> WideResNetSpec:
    """The specification of the network in `wide`."""
    return NETWORK
