"""Loading: files are checked, strategy and provider chosen, and the golden sample has the last word."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fixture_types import BuiltOnce
from numpy.typing import NDArray
from thorough import first

from hnexport.bundle import Format, read_golden, read_manifest, write_golden, write_manifest
from hnexport.bundle.checksums import record_file
from hnexport.bundle.manifest import FORMAT_FILES
from hnexport.errors import BundleError, ProviderError, RuntimeInputError
from hnexport.runtime import Strategy, load, loading
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine

READ = {
    "materialised": ("golden.safetensors", "hypernet.onnx", "network.onnx", "weights.bin"),
    "generated": ("golden.safetensors", "model.onnx", "weights.bin"),
}
FILES = [(strategy, name) for strategy, names in READ.items() for name in names]


def rewrite(bundle: Path, **changes: Any) -> None:
    """Change the manifest's fields, with the records of the files as they are now."""
    manifest = read_manifest(bundle)
    records = {name: record_file(bundle / name) for name in manifest.files if (bundle / name).exists()}
    write_manifest(bundle, replace(manifest, files=records, **changes))


@pytest.mark.parametrize(("strategy", "name"), FILES)
def test_a_flipped_bit_is_found_and_the_file_named(own_bundle: Path, strategy: str, name: str) -> None:
    data = bytearray((own_bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (own_bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} is damaged: expected SHA-256"):
        load(own_bundle, provider="cpu", strategy=strategy)


@pytest.mark.parametrize(("strategy", "name"), FILES)
@pytest.mark.parametrize("checksums", ["always", "remembered", "never"])
def test_a_truncated_file_is_found_and_named(own_bundle: Path, strategy: str, name: str, checksums: str) -> None:
    data = (own_bundle / name).read_bytes()
    (own_bundle / name).write_bytes(data[:-4096])
    with pytest.raises(BundleError, match=rf"{name} is damaged: expected {len(data)} bytes, found {len(data) - 4096}"):
        load(own_bundle, provider="cpu", strategy=strategy, checksums=checksums)


@pytest.mark.parametrize(("strategy", "name"), FILES)
def test_a_missing_file_is_named(own_bundle: Path, strategy: str, name: str) -> None:
    (own_bundle / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} is missing"):
        load(own_bundle, provider="cpu", strategy=strategy)


@pytest.mark.parametrize(("strategy", "unread"), [("materialised", "model.onnx"), ("generated", "network.onnx")])
def test_files_that_a_strategy_does_not_read_need_not_be_there(
    own_bundle: Path, images: NDArray[np.float32], strategy: str, unread: str
) -> None:
    (own_bundle / unread).unlink()
    assert load(own_bundle, provider="cpu", strategy=strategy).predict(images, member=1).shape == (4, 5)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        load(tmp_path)


def test_a_bundle_without_onnx_files_is_refused(bundle: Path) -> None:
    for name in FORMAT_FILES[Format.ONNX]:
        (bundle / name).unlink()
    rewrite(bundle, onnx=None, formats=(Format.TORCHSCRIPT, Format.PT2), parity={})
    with pytest.raises(BundleError, match="holds no ONNX files"):
        load(bundle)


def test_a_graph_with_other_inputs_is_refused(own_bundle: Path) -> None:
    rewrite(own_bundle, inputs=read_manifest(own_bundle).inputs[1:])
    with pytest.raises(BundleError, match=r"\$: signature is not that of the specification"):
        load(own_bundle)


def test_a_file_that_onnxruntime_cannot_read_is_a_bundle_error(
    own_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (own_bundle / "model.onnx").write_bytes(b"not a model")
    rewrite(own_bundle)
    with pytest.raises(BundleError, match=r"onnxruntime .* cannot load .*model.onnx"):
        load(own_bundle, provider="cpu", strategy="generated")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("strategy", ["materialised", "generated"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("check", ["sample", "all"])
def test_weights_that_are_not_those_of_the_golden_sample_are_found(
    own_bundle: Path, strategy: str, engine: str, check: str
) -> None:
    weights = np.fromfile(own_bundle / "weights.bin", dtype="<f4")
    (weights * np.float32(1.001)).tofile(own_bundle / "weights.bin")
    rewrite(own_bundle)
    with pytest.raises(BundleError, match=r"member 0 does not compute what it computed .* image 0"):
        load(own_bundle, provider="cpu", strategy=strategy, engine=engine, check=check)
    load(own_bundle, provider="cpu", strategy=strategy, engine=engine, check="none")


def test_only_the_whole_check_finds_a_difference_in_the_last_member(own_bundle: Path) -> None:
    golden = read_golden(own_bundle)
    golden.outputs["logits"][-1, -1] *= 1.001
    write_golden(own_bundle, golden)
    rewrite(own_bundle)
    load(own_bundle, provider="cpu", check="sample")
    last = golden.members[-1]
    with pytest.raises(BundleError, match=rf"member {last} does not compute .* image {golden.samples - 1} "):
        load(own_bundle, provider="cpu", check="all")


def test_auto_materialises_on_the_cpu_where_all_members_fit(shared_bundle: Path) -> None:
    ensemble = load(shared_bundle, provider="cpu")
    assert (ensemble.strategy, ensemble.resident_limit) == (Strategy.MATERIALISED, 10)


def test_auto_generates_where_not_all_members_fit(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = OnnxruntimeEngine(shared_bundle, read_manifest(shared_bundle), "cpu", None).member_bytes
    monkeypatch.setattr(loading, "available_bytes", lambda: int(9.9 * size * 1.1 / 0.5))
    with caplog.at_level(logging.INFO, logger="hnexport.runtime"):
        assert load(shared_bundle, provider="cpu").strategy is Strategy.GENERATED
    assert "only 9 of 10 members fit into memory" in caplog.text
    assert load(shared_bundle, provider="cpu", strategy="materialised").resident_limit == 9
    assert load(shared_bundle, provider="cpu", resident_members=4).resident_limit == 4


def test_auto_generates_where_the_convolutions_are_the_same_for_all_members(built_once: BuiltOnce) -> None:
    assert load(built_once("batch-ensemble"), provider="cpu").strategy is Strategy.GENERATED


@pytest.mark.parametrize("available", [0, None], ids=["no memory", "unknown memory"])
def test_at_least_one_member_is_resident(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, available: int | None
) -> None:
    monkeypatch.setattr(loading, "available_bytes", lambda: available)
    ensemble = load(shared_bundle, provider="cpu", strategy="materialised")
    assert ensemble.resident_limit == (1 if available == 0 else 10)


def test_where_no_member_fits_one_is_what_could_be_kept(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "available_bytes", lambda: 0)
    with caplog.at_level(logging.INFO, logger="hnexport.runtime"):
        assert load(shared_bundle, provider="cpu").strategy is Strategy.GENERATED
    assert "only 0 of 10 members fit into memory; with resident_members=1 the" in caplog.text


def test_a_members_size_is_that_of_its_weights(shared_bundle: Path) -> None:
    manifest = read_manifest(shared_bundle)
    engine = OnnxruntimeEngine(shared_bundle, manifest, "cpu", None)
    shared = sum(np.prod(o.shape) for o in engine._hypernet_session().get_outputs() if o.name not in engine.weights(0))
    assert engine.member_bytes == sum(w.nbytes for w in engine.weights(0).values()) + 4 * shared
    assert shared > 0


BAD_OPTIONS = {
    "strategy": (
        {"strategy": "fast"},
        "strategy must be one of 'auto', 'materialised', 'folded', 'generated', found 'fast'",
    ),
    "engine": ({"engine": "tvm"}, "engine must be one of 'onnxruntime', 'openvino'"),
    "checksums": ({"checksums": "sometimes"}, "checksums must be one of"),
    "check": ({"check": True}, "check must be one of 'sample', 'all', 'none', found True"),
    "precision": ({"precision": "bfloat16"}, "precision='bfloat16' needs engine='openvino'"),
    "float16 on the cpu": (
        {"precision": "float16"},
        r"precision='float16' needs provider='cuda' \(or 'auto'\) or engine='openvino'",
    ),
    "no resident members": ({"resident_members": 0}, "resident_members must be a whole number from 1"),
    "no threads": ({"threads": -1}, "threads must be a whole number from 1"),
    "threads that cannot be written": (
        {"threads": -(10**5000)},
        "threads must be a whole number from 1, found a value",
    ),
    "a billion threads": ({"threads": 10**9}, "threads must be at most 4096"),
    "threads in words": ({"threads": "2"}, "threads must be a whole number from 1"),
    "resident but generated": ({"strategy": "generated", "resident_members": 2}, "generated members are not kept"),
}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_an_option_that_cannot_be_is_refused(shared_bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        load(shared_bundle, provider="cpu", **options)


def test_auto_falls_back_to_the_cpu_and_says_so(
    shared_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr("hnexport.runtime.obstacles.read_driver", lambda: None)
    with caplog.at_level(logging.INFO, logger="hnexport.runtime"):
        ensemble = load(shared_bundle)
    assert ensemble.provider == "cpu"
    assert "running on the CPU: provider 'cuda' cannot be had: there is no NVIDIA driver" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_openvino_takes_no_other_provider(shared_bundle: Path) -> None:
    with pytest.raises(ProviderError, match="engine 'openvino' runs on the CPU here, not on 'cuda'"):
        load(shared_bundle, engine="openvino", provider="cuda")


def test_openvino_that_is_not_installed_is_an_error_with_the_remedy(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderError, match=r"pip install openvino"):
        load(shared_bundle, engine="openvino")


@pytest.mark.parametrize(("precision", "capability", "most"), [("bfloat16", "BF16", 0.1), ("float16", "FP16", 0.02)])
@pytest.mark.parametrize("strategy", ["materialised", "generated"])
def test_half_precision_of_openvino_is_near_and_only_by_name(
    precision: str, capability: str, most: float, strategy: str, shared_bundle: Path, images: NDArray[np.float32]
) -> None:
    import openvino

    exact = load(shared_bundle, engine="openvino", strategy=strategy).predict(images, member=2)
    if capability in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        ensemble = load(shared_bundle, engine="openvino", precision=precision, strategy=strategy, check="all")
        assert ensemble.precision == precision
        error = np.linalg.norm(ensemble.predict(images, member=2) - exact) / np.linalg.norm(exact)
        assert 1e-5 < error < most
    reference = load(shared_bundle, provider="cpu").predict(images, member=2)
    np.testing.assert_allclose(exact, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_that_the_processor_lacks_is_refused(
    precision: str, shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    monkeypatch.setattr(openvino.Core, "get_property", lambda *given: ["FP32", "INT8"])
    with pytest.raises(ProviderError, match=f"precision='{precision}': OpenVINO finds no instructions for it"):
        load(shared_bundle, engine="openvino", precision=precision)


def test_load_and_predict_work_where_neither_torch_nor_onnx_is_installed(
    shared_bundle: Path, images: NDArray[np.float32]
) -> None:
    code = f"""
import json, sys
blocked = ("torch", "onnx", "onnxscript", "onnx_ir", "click", "rich", "PIL", "openvino", "pydantic")
for name in blocked:
    sys.modules[name] = None
import numpy as np
from hnexport.runtime import load
images = np.array({images[:1].tolist()!r}, dtype=np.float32)
prediction = load({str(shared_bundle)!r}, provider="cpu").predict_mean(images)
print(json.dumps(prediction.logits.tolist()))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    expected = load(shared_bundle, provider="cpu").predict(images[:1], members="all")
    assert np.array_equal(np.array(json.loads(done.stdout), dtype=np.float32), expected)


@pytest.mark.parametrize("module", first(2, ["torch", "onnx", "rich", "click", "pydantic", "openvino", "PIL"]))
def test_importing_the_runtime_does_not_import(module: str) -> None:
    code = f"import sys, hnexport.runtime; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_ensemble_says_what_it_is(shared_bundle: Path) -> None:
    ensemble = load(shared_bundle, provider="cpu", strategy="generated")
    assert repr(ensemble).endswith("10 members, onnxruntime on cpu, generated>")
    assert (ensemble.members, ensemble.classes, ensemble.engine) == (10, 5, "onnxruntime")
