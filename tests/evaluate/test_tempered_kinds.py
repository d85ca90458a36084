"""Whatever a bundle is, and whatever runs it: a derived one gives the same logits, divided by the temperature."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import small_spec, trained_tensors
from module_ensembles import BRANCHING, ENSEMBLES
from shared import Built, build_once, built_kind, built_list
from thorough import first

from hnexport.build import BuildOptions, BuildResult
from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Format, Temperature, read_identified, read_manifest
from hnexport.errors import ProviderError
from hnexport.evaluate.derive import derive_bundle
from hnexport.member import MemberOptions, write_members
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.runtime import load
from hnexport.spec import BasisDtype, HypernetSpec
from hnexport.spec.kinds import Logits
from hnexport.tune import tune

VALUE = 1.625  # exact in float32


def tempered(bundle: Path, target: Path) -> tuple[BuildResult, str]:
    output = next(one for one in read_manifest(bundle).outputs if one.axis is not None)
    asked = Temperature(output=output.name, value=VALUE, rows=9, source=read_identified(bundle).digest)
    return derive_bundle(bundle, target, asked, provider="cpu", trust=True), output.name


RECURRENT = dataclasses.replace(ENSEMBLES["recurrent"], options={"outputs": {"output": Logits()}})
ALONE = {"onnx", "onnx-materialised", "onnx-ensemble"}
KINDS = {
    "logits with further axes": (lambda: built_list("pixels"), ALONE | {"torchscript-ensemble", "pt2"}),
    "branches": (lambda: built_kind("branching", BRANCHING), ALONE | {"torchscript", "pt2", "torchscript-ensemble"}),
    "recurrent": (lambda: built_kind("recurrent-logits", RECURRENT), ALONE | {"torchscript", "pt2"}),
}


@pytest.mark.parametrize(("made", "files"), first(1, KINDS.values()), ids=KINDS)
def test_kinds_of_networks_divide_in_every_file(made: Callable[[], Any], files: set[str], tmp_path: Path) -> None:
    bundle = made().path
    done, output = tempered(bundle, tmp_path / "new")
    assert {one.artifact for one in done.parity.artifacts} >= files
    golden = read_golden(bundle)
    known = load(bundle, provider="cpu").predict(golden.inputs, members="all")
    for strategy in ("generated", "materialised"):
        found = load(done.path, provider="cpu", strategy=strategy).predict(golden.inputs, members="all")
        np.testing.assert_allclose(found, known / np.float32(VALUE), rtol=1e-5, atol=1e-6)
    write_members(done.path, [2], tmp_path / "plain.onnx", options=MemberOptions())
    session = onnxruntime.InferenceSession(tmp_path / "plain.onnx", providers=["CPUExecutionProvider"])
    (plain,) = session.run([output], dict(golden.inputs))
    np.testing.assert_allclose(plain, known[2] / np.float32(VALUE), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def half() -> Path:
    """A hypernetwork with bases in float16, which can be folded."""
    spec = dataclasses.replace(small_spec("hypernet"), hypernet=HypernetSpec(basis_dtype=BasisDtype.FLOAT16))
    checkpoint = Checkpoint(spec=spec, tensors=trained_tensors(spec), origin="a test")
    return build_once(checkpoint, BuildOptions(formats=(Format.ONNX,))).path


@pytest.mark.thorough
def test_every_engine_and_strategy_divides_in_the_same_way(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    new = tempered(half, tmp_path / "new")[0].path
    images = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    tune(half)
    with pytest.raises(ProviderError, match="is not tuned for this machine"):
        load(new, provider="cpu", strategy="folded")  # the tuned graphs are those of the other bundle
    tune(new)
    for options in (
        {"strategy": "generated"},
        {"strategy": "materialised"},
        {"strategy": "folded"},
        {"engine": "openvino", "strategy": "materialised"},
        {"engine": "openvino", "strategy": "generated"},
    ):
        found, known = (load(one, provider="cpu", **options).predict(images, members="all") for one in (new, half))
        np.testing.assert_allclose(found, known / np.float32(VALUE), rtol=1e-5, atol=1e-6, err_msg=str(options))
    assert [item.dtype for item in read_manifest(new).stored] == [item.dtype for item in read_manifest(half).stored]


@pytest.mark.thorough
def test_the_report_of_a_network_that_is_known_shows_its_error_by_depth(
    half: Path, digits: Built, tmp_path: Path
) -> None:
    known, other = (tempered(one, tmp_path / name)[0] for name, one in (("known", half), ("other", digits.path)))
    assert 'aria-label="error by depth of the network"' in (known.path / "report.html").read_text()
    assert "that of the bundle that this one was derived from" in (other.path / "report.html").read_text()


def test_the_graphs_say_their_temperature(half: Path, tmp_path: Path) -> None:
    new = tempered(half, tmp_path / "new")[0].path
    write_members(new, [1], tmp_path / "plain.onnx", options=MemberOptions())
    for path in (*(new / name for name in ("model.onnx", "network.onnx", "ensemble.onnx")), tmp_path / "plain.onnx"):
        model = onnx.load(path, load_external_data=False)
        assert {item.key: item.value for item in model.metadata_props}["hnexport.temperature"] == repr(VALUE)
