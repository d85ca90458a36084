"""A bundle of a hypernetwork of a vector: two graphs that make an object, every runtime, and faults that are caught."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from bundles import rewrite_checksums
from click.testing import CliRunner
from faults import OnnxEditor
from hypernetworks import CASES
from numpy.typing import NDArray
from onnx import helper
from safetensors.numpy import save_file
from shared import built_kind, built_list
from thorough import first

from hnexport.bench.run import bench
from hnexport.bundle import read_golden, read_manifest
from hnexport.cli.main import cli
from hnexport.errors import BenchError, BundleError, ParityError, RuntimeInputError, TuneError
from hnexport.member import write_members
from hnexport.names import ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.inputs import given_inputs
from hnexport.parity.locate import locate
from hnexport.parity.trained import check_trained
from hnexport.runtime import load
from hnexport.tune import tune

CASE = CASES["both"]


@pytest.fixture(scope="module")
def bundle() -> Path:
    return built_kind("hypernetwork-both", CASE).path


def session(path: Path, **supplied: Any) -> Any:
    options = onnxruntime.SessionOptions()
    if supplied:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in supplied.values()]
        options.add_external_initializers(list(supplied), values)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def arrays(seed: int = 0, batch: int = 3) -> dict[Any, Any]:
    return {name: tensor.numpy() for name, tensor in CASE.given(seed, batch).items()}


def expected(member: int, given: Any) -> NDArray[Any]:
    return CASE.expected(member, {name: torch.from_numpy(array) for name, array in given.items()}).numpy()


def test_two_graphs_make_a_plain_network_of_each_object(bundle: Path) -> None:
    names = read_manifest(bundle).onnx.supplied
    hypernet = session(bundle / HYPERNET_FILE)
    assert [item.name for item in hypernet.get_inputs()] == ["cond_id", "condition"]
    for member, seed in ((0, 0), (2, 1)):
        given = arrays(seed)
        ids = {"cond_id": np.array(member), "condition": given["condition"]}
        weights = dict(zip(names, hypernet.run(list(names), ids), strict=True))
        network = session(bundle / NETWORK_FILE, **weights)
        assert [item.name for item in network.get_inputs()] == ["x"]
        (found,) = network.run(["y"], {"x": given["x"]})
        np.testing.assert_allclose(found, expected(member, given), rtol=1e-4, atol=1e-5)


def test_one_graph_runs_all_members_with_one_condition(bundle: Path) -> None:
    given = arrays(3)
    ensemble = session(bundle / ENSEMBLE_FILE)
    found = ensemble.run(["member_y"], {"cond_ids": np.arange(3), **given})[0]
    for member in range(3):
        np.testing.assert_allclose(found[member], expected(member, given), rtol=1e-4, atol=1e-5)


def test_the_golden_samples_hold_several_conditions(bundle: Path) -> None:
    golden = read_golden(bundle)
    conditions = [golden.inputs["condition"], *(part.inputs["condition"] for part in golden.conditions)]
    assert len({array.tobytes() for array in conditions}) == 3
    assert [len(part.members) for part in golden.conditions] == [3, 3]


@pytest.mark.parametrize("strategy", ["auto", "materialised"])
def test_it_predicts_with_any_condition_and_keeps_an_object(bundle: Path, strategy: str) -> None:
    loaded, given = load(bundle, strategy=strategy, check="all"), arrays(4)
    kept = loaded.materialise(given["condition"], member=1)
    for found in (loaded.predict(given, member=1), kept.predict(given["x"]), kept.predict(x=given["x"])):
        np.testing.assert_allclose(found, expected(1, given), rtol=1e-4, atol=1e-5)
    assert loaded.strategy == ("generated" if strategy == "auto" else strategy)
    with pytest.raises(RuntimeInputError, match="'condition' is missing: its weights are made of condition"):
        loaded.materialise(member=1)
    with pytest.raises(RuntimeInputError, match=r"condition: expected shape \[6\], found \[5\]"):
        loaded.materialise(given["condition"][:5])
    with pytest.raises(RuntimeInputError, match="which member\\? give member=0 to 2"):
        loaded.materialise(given["condition"])


def test_an_object_that_is_asked_for_twice_is_made_once_and_the_least_used_is_dropped(bundle: Path) -> None:
    loaded = load(bundle, strategy="materialised", resident_members=2, check="none")
    made, engine = [], loaded._engine.materialise

    def counted(*asked: Any) -> Any:
        made.append(asked[0])
        return engine(*asked)

    loaded._residents._materialise = counted
    for member, seed in ((0, 0), (0, 1), (0, 0), (1, 0), (0, 0), (0, 1)):
        given = arrays(seed)
        np.testing.assert_allclose(loaded.predict(given, member=member), expected(member, given), rtol=1e-4, atol=1e-5)
    assert made == [0, 0, 1, 0]
    assert loaded.resident_members == (0, 0)
    with pytest.raises(RuntimeInputError, match=r"make one ahead with materialise\(member=0, condition=…\)"):
        loaded.warm()


def bake_condition(editor: Any, value: Any) -> None:
    """Let every node read one condition instead of the input, which stays."""
    editor.set_value("baked", value)
    for node in editor.graph.node:
        for position, name in enumerate(node.input):
            if name == "condition" and node.op_type != "IsNaN":
                node.input[position] = "baked"


def without_guard(editor: Any, value: Any) -> None:
    """A NaN passes for 0, as under a ReLU that loses it."""
    nan = next(node for node in editor.graph.node if node.op_type == "IsNaN")
    editor.insert(helper.make_node("And", [nan.output[0], "never"], ["planted"]))
    editor.set_value("never", np.array(False))
    for node in editor.graph.node:
        if nan.output[0] in node.input and node.op_type != "And":
            node.input[list(node.input).index(nan.output[0])] = "planted"
    editor.set_value("zero", np.array(0.0, np.float32))
    editor.insert(helper.make_node("IsNaN", ["condition"], ["lost"]))
    editor.insert(helper.make_node("Where", ["lost", "zero", "condition"], ["clean"]))
    for node in editor.graph.node:
        if node.op_type not in ("IsNaN", "Where"):
            node.input[:] = ["clean" if name == "condition" else name for name in node.input]


FAULTS = {
    "baked into model.onnx": (MODEL_FILE, "onnx", bake_condition, "other conditions make other weights"),
    "baked into hypernet.onnx": (HYPERNET_FILE, "onnx-materialised", bake_condition, "other conditions make"),
    "baked into ensemble.onnx": (ENSEMBLE_FILE, "onnx-ensemble", bake_condition, "other conditions make other weights"),
    "a NaN that is lost": (MODEL_FILE, "onnx", without_guard, "a NaN condition gives NaN"),
}


@pytest.mark.parametrize(("file", "artifact", "plant", "check"), first(1, FAULTS.values()), ids=FAULTS.keys())
def test_a_condition_that_is_ignored_is_caught(
    bundle: Path, tmp_path: Path, file: str, artifact: str, plant: Callable[[Any, Any], Any], check: str
) -> None:
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    editor = OnnxEditor(damaged / file)
    if file == ENSEMBLE_FILE:
        (scan,) = (node for node in editor.graph.node if node.op_type == "Scan")
        editor.set_value("baked", read_golden(bundle).inputs["condition"])
        scan.input[0] = "baked"
    else:
        plant(editor, read_golden(bundle).inputs["condition"])
    editor.save()
    rewrite_checksums(damaged)
    (report,) = verify(damaged, VerifyOptions(artifacts=(artifact,))).artifacts
    failed = [found.name for found in report.checks if not found.passed]
    assert any(name.startswith(check) for name in failed), failed


def test_other_bundles_say_nothing_of_conditions() -> None:
    other = built_list("cnn")
    assert "conditions" not in json.loads((other.path / "manifest.json").read_text(encoding="utf-8"))
    assert b"conditions" not in (other.path / MODEL_FILE).read_bytes()
    assert other.manifest.signature.conditions == ()
    assert read_golden(other.path).conditions == ()


def test_the_command_line_inspects_it_and_predicts(bundle: Path, tmp_path: Path) -> None:
    given = arrays(5)
    for name, array in given.items():
        np.save(tmp_path / f"{name}.npy", array)
    options = [part for name in given for part in ("--input", f"{name}={tmp_path / name}.npy")]
    shown = CliRunner().invoke(cli, ["predict", str(bundle), *options, "--members", "2", "--json"])
    assert shown.exit_code == 0, shown.output
    told = CliRunner().invoke(cli, ["inspect", str(bundle)])
    assert "condition │ condition │ float32 │ [6]" in told.output


def test_what_works_for_members_alone_says_so(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TuneError, match="makes its weights of condition too"):
        tune(bundle)
    with pytest.raises(RuntimeInputError, match="makes a member's weights of condition, an input"):
        write_members(bundle, [0], tmp_path / "member.onnx")
    with pytest.raises(BenchError, match="makes its weights of condition too"):
        bench(bundle)


def test_a_family_whose_weights_come_of_ids_alone_takes_no_conditions(bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(built_list("cnn").path, tmp_path / "damaged")
    text = json.loads((damaged / "manifest.json").read_text(encoding="utf-8"))
    text["inputs"].insert(1, {"name": "code", "dtype": "float32", "shape": [3]})
    text["conditions"] = ["code"]
    (damaged / "manifest.json").write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(BundleError, match="the weights of a list of modules come of ids alone, found .*code"):
        read_manifest(damaged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.update(conditions=["x"]), "the conditions x must be the first inputs"),
        (lambda text: text["inputs"][1].update(shape=["n"]), r"must be floating-point with fixed sizes, found float32"),
        (lambda text: text.pop("conditions"), "a step uses .*input/condition.*, which is no tensor"),
    ],
    ids=["of the network", "an open axis", "none"],
)
def test_a_manifest_whose_conditions_contradict_the_rest_is_refused(
    bundle: Path, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    text = json.loads((damaged / "manifest.json").read_text(encoding="utf-8"))
    change(text)
    (damaged / "manifest.json").write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(BundleError, match=message):
        read_manifest(damaged)


def test_samples_hold_several_conditions_and_a_reference_one(bundle: Path, tmp_path: Path) -> None:
    signature, given = read_manifest(bundle).signature, arrays(6)
    several = np.stack([given["condition"], 2 * given["condition"], 3 * given["condition"]])
    probes = given_inputs(signature, {**given, "condition": several})
    assert np.array_equal(probes.inputs["condition"], several[0])
    assert [float(one["condition"][0] / several[0, 0]) for one in probes.conditions] == pytest.approx([2, 3])
    assert len(given_inputs(signature, given).conditions) == 1
    ensemble = CASE.ensemble()
    outputs = {"output.y": np.stack([expected(member, given) for member in range(3)])}
    inputs = {f"input.{name}": array for name, array in given.items()}
    save_file({**inputs, **outputs}, tmp_path / "one.safetensors")
    assert check_trained(ensemble, tmp_path / "one.safetensors").samples == 3
    save_file({**inputs, **outputs, "input.condition": several}, tmp_path / "several.safetensors")
    with pytest.raises(ParityError, match="a reference is of one condition"):
        check_trained(ensemble, tmp_path / "several.safetensors")


def test_a_condition_that_is_itself_a_layers_tensor_is_seen_there() -> None:
    bundle = built_kind("hypernetwork-two", CASES["two"]).path  # a build refuses a layer that takes another tensor
    graph = onnx.load(bundle / MODEL_FILE, load_external_data=False).graph
    assert "shift" in next(node for node in graph.node if node.op_type == "Gemm").input
    assert locate(bundle, "onnx").first is None
