"""Modules with recipes, each through build, load and plain runtimes; and faults in them that verify and locate find."""

import json
import shutil
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from bundles import rewrite_checksums
from faults import OnnxEditor
from module_recipes import RECIPES

from hnexport.build import build
from hnexport.bundle import read_manifest
from hnexport.names import MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate
from hnexport.runtime import load


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """`kind -> (case, ensemble, folder)`; nobody may change a folder."""
    found = {}

    def built(kind):
        if kind not in found:
            ensemble = RECIPES[kind].ensemble()
            result = build(ensemble, tmp_path_factory.mktemp("recipes") / kind)
            assert result.parity.passed
            found[kind] = (RECIPES[kind], ensemble, result.path)
        return found[kind]

    return built


@pytest.fixture(params=RECIPES)
def built(request, bundles):
    return bundles(request.param)


def test_plain_runtimes_compute_what_the_ensemble_computes_at_any_batch(built):
    case, ensemble, folder = built
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    script, program = torch.jit.load(folder / TORCHSCRIPT_FILE), torch.export.load(folder / PT2_FILE).module()
    names = [output.name for output in ensemble.signature.outputs]
    for batch in (1, 3, 17):
        inputs = case.inputs(batch, 21)
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        for member in range(case.members):
            with torch.no_grad():
                expected = list(ensemble(member, inputs).values())
                others = [run(torch.tensor(member), *inputs.values()) for run in (script, program)]
            found = session.run(names, {"cond_id": np.array(member), **arrays})
            for raw in (found, *(other if isinstance(other, tuple) else (other,) for other in others)):
                for one, two in zip(raw, expected, strict=True):
                    np.testing.assert_allclose(np.asarray(one), two.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("strategy", ["materialised", "generated"])
def test_the_runtime_predicts_every_member(built, strategy):
    case, ensemble, folder = built
    loaded = load(folder, strategy=strategy, check="all")
    inputs = case.inputs(4, 22)
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    for member in range(case.members):
        found = loaded.predict(arrays, member=member)
        with torch.no_grad():
            expected = ensemble(member, inputs)
        for name, value in expected.items():
            array = found[name] if isinstance(found, dict) else found
            np.testing.assert_allclose(array, value.numpy(), rtol=1e-3, atol=1e-5)


def test_an_id_that_does_not_exist_gives_nan_in_a_plain_runtime(built):
    case, _, folder = built
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    arrays = {name: tensor.numpy() for name, tensor in case.inputs(2, 1).items()}
    for absent in (-1, case.members, 2**40):
        assert all(np.isnan(one).all() for one in session.run(None, {"cond_id": np.array(absent), **arrays}))


@pytest.mark.parametrize(("kind", "generated", "ratio"), [("vision-transformer", 24, 1.51), ("convolution", 7, 0.87)])
def test_inspect_counts_what_is_generated(kind, generated, ratio, bundles, hnexport_cli):
    _, _, folder = bundles(kind)
    done = hnexport_cli("inspect", folder)
    assert done.returncode == 0, done.stderr
    assert f"{generated} generated" in done.stdout
    assert "family recipe" in done.stdout
    counts = json.loads(hnexport_cli("inspect", folder, "--json").stdout)["summary"]["counts"]
    assert counts["container: compression ratio"] == pytest.approx(ratio, abs=0.01)
    assert counts["structured hypernetwork: outputs"] + counts_of_others(folder) == counts["main network: weights"]


def counts_of_others(folder):
    manifest = read_manifest(folder)
    filled = {item.slot for item in manifest.stored}
    return sum(slot.size for slot in manifest.slots if slot.trained and slot.name in filled)


@pytest.fixture
def hnexport_cli(zygote, tmp_path):
    return lambda *arguments: zygote.run(arguments, cwd=tmp_path, env={"COLUMNS": "140"})


def _scaled(name: str) -> Callable[[OnnxEditor], None]:
    def edit(editor: OnnxEditor) -> None:
        value = editor.value(name).copy()
        value.flat[value.size // 2] *= 1.1
        editor.set_value(name, value)

    return edit


def _swapped(name: str) -> Callable[[OnnxEditor], None]:
    return lambda editor: editor.set_value(name, editor.value(name)[[1, 0, *range(2, len(editor.value(name)))]])


def _without_guard(editor: OnnxEditor) -> None:
    editor.set_value("constant/nan", np.array(0.0, dtype=np.float32))


FAULTS = {
    "two members' embeddings": ("vision-transformer", _swapped("hypernet.shape_96_16.embedding"), "embedding"),
    "an element of a joined basis": ("vision-transformer", _scaled("hypernet.shape_96_16.basis"), "chunk"),
    "a shared tensor": ("vision-transformer", _scaled("shared.positions"), "positions"),
    "a member's own": ("tabular", _swapped("member.spread.weight"), "spread.weight"),
    "statistics": ("tabular", _scaled("member.layers.1.running_var"), "layers.1.running_var"),
    "a hidden layer": ("tabular", _scaled("hypernet.whole.hidden1.weight"), "whole"),
    "the last bias": ("tabular", _scaled("hypernet.whole.bias"), "whole"),
    "an element of the flat basis": ("convolution", _scaled("hypernet.flat.basis"), "flat"),
    "no guard": ("convolution", _without_guard, None),
}


@pytest.mark.parametrize(("kind", "edit", "place"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_found(kind, edit, place, bundles, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundles(kind)[2], folder)
    editor = OnnxEditor(folder / MODEL_FILE)
    edit(editor)
    editor.save()
    rewrite_checksums(folder)
    report = verify(folder, VerifyOptions(artifacts=("onnx",), trust=True))
    assert not report.passed
    if place is not None:
        first = locate(folder, "onnx", trust=True).first
        assert first is not None
        assert place in first.place
