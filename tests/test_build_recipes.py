"""Modules with recipes, each through build, load and plain runtimes; and faults in them that verify and locate find."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import module_recipes
import numpy as np
import onnxruntime
import pytest
import torch
from bundles import rewrite_checksums
from faults import OnnxEditor
from module_recipes import RECIPES, Case
from recipe_faults import RECIPE_FAULTS, WRITERS, RecipeFault
from thorough import only
from zygote import Done, Zygote

from hnexport.ensemble import Ensemble
from hnexport.names import MODEL_FILE, PT2_FILE, TORCHSCRIPT_FILE
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate
from hnexport.runtime import load

PROVIDERS = ["CPUExecutionProvider"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Callable[[Any], Any]:
    """`kind -> (case, ensemble, folder)`, built by the command line; nobody may change a folder."""
    found = {}

    def built(kind: str) -> tuple[Case, Ensemble, Any]:
        if kind not in found:
            case, folder = RECIPES[kind], tmp_path_factory.mktemp("recipes")
            source = ("--from", f"{module_recipes.__file__}:made", "--arg", f"kind={kind}", *case.typed.split())
            done = zygote.run(("build", *source, "--out", kind), cwd=folder, env={})
            assert done.returncode == 0, done.stderr
            found[kind] = (case, case.ensemble(), folder / kind)
        return found[kind]

    return built


@pytest.fixture(params=only(RECIPES, "tabular"))
def built(request: pytest.FixtureRequest, bundles: Callable[[Any], Any]) -> Any:
    return bundles(request.param)


@pytest.mark.thorough
def test_plain_runtimes_compute_what_the_ensemble_computes_at_any_batch(built: Any) -> None:
    case, ensemble, folder = built
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=PROVIDERS)
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
def test_the_runtime_predicts_every_member(built: Any, strategy: str) -> None:
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


def test_an_id_that_does_not_exist_gives_nan_in_a_plain_runtime(built: Any) -> None:
    case, _, folder = built
    session = onnxruntime.InferenceSession(folder / MODEL_FILE, providers=PROVIDERS)
    arrays = {name: tensor.numpy() for name, tensor in case.inputs(2, 1).items()}
    for absent in (-1, case.members, 2**40):
        assert all(np.isnan(one).all() for one in session.run(None, {"cond_id": np.array(absent), **arrays}))


# Vision transformer: seven shapes of chunks (those larger than 2,048 are cut in two), each with a basis of eight rows.
# Tabular: one chunk, a hidden layer of 16, biases. Convolution: ten chunks of 1,000 hold 9,672 elements.
_BLOCK = 96 * 32 + 96 + 32 * 32 + 32 + 128 * 32 + 128 + 32 * 128 + 32
_SHAPES = 96 * 16 + 96 + 32 * 32 + 32 + 128 * 16 + 128 + 32 * 64
_STEM, _NORMS, _HEAD = 3 * 4 * 4 * 32 + 32 + 32 + 17 * 32 + 64, 3 * 4 * 32, 32 * 10 + 10
_LAYERS = 13 * 48 + 48 + 48 * 48 + 48 + 48 * 2 + 2
_WORDS = 3 * (24 * 24 * 5 + 24) + 40 * 24
COUNTS = {
    # of the hypernetwork: parts, chunks, output size, shared weights, members' weights, outputs; then other shared
    # weights, and each member's own
    "vision-transformer": (7, 3 * 11, _SHAPES, 8 * _SHAPES, 4 * 33 * 8, 3 * _BLOCK, _STEM, _NORMS + _HEAD),
    "tabular": (1, 1, _LAYERS, 5 * 16 + 16 + 17 * _LAYERS, 5 * 5, _LAYERS, 7 * 4 + 4 * 48, 48 * 2 + 2),
    "convolution": (1, 10, 1000, 8 * 1000, 3 * 10 * 8, _WORDS, 0, 24 * 3 + 3),
}


@pytest.mark.parametrize("kind", only(COUNTS, "tabular"))
def test_inspect_counts_what_is_generated(
    kind: str, bundles: Callable[[Any], Any], hnexport_cli: Callable[..., Done]
) -> None:
    case, _, folder = bundles(kind)
    done = hnexport_cli("inspect", folder)
    assert done.returncode == 0, done.stderr
    assert f"{case.generated} generated" in done.stdout
    assert "family recipe" in done.stdout
    hypernets, chunks, size, shared, own, generated, others, each = COUNTS[kind]
    stored, network = shared + own + others + each * case.members, generated + others + each
    assert json.loads(hnexport_cli("inspect", folder, "--json").stdout)["summary"]["counts"] == {
        "main network: weights": network,
        "internal hypernetworks": hypernets,
        "chunks of one member": chunks,
        "internal hypernetworks: combined output size": size,
        "structured hypernetwork: weights": shared + own,
        "structured hypernetwork: unconditional weights": shared,
        "structured hypernetwork: conditional weights": own,
        "structured hypernetwork: outputs": generated,
        "structured hypernetwork: compression ratio": pytest.approx((shared + own) / generated),
        "container: weights": stored,
        "container: unconditional weights": shared + others,
        "container: conditional weights": own + each * case.members,
        "container: outputs": network,
        "container: compression ratio": pytest.approx(stored / network),
        "each further member: weights": own // case.members + each,
    }


def test_a_member_of_a_recipe_becomes_a_plain_network(
    bundles: Callable[[Any], Any], hnexport_cli: Callable[..., Done], tmp_path: Path
) -> None:
    case, ensemble, folder = bundles("tabular")
    done = hnexport_cli("member", folder, 4, "--out", "plain.onnx")
    assert done.returncode == 0, done.stderr
    session, inputs = onnxruntime.InferenceSession(tmp_path / "plain.onnx", providers=PROVIDERS), case.inputs(6, 2)
    found = session.run(["mean", "spread"], {name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.no_grad():
        for one, two in zip(found, ensemble(4, inputs).values(), strict=True):
            np.testing.assert_allclose(one, two.numpy(), rtol=1e-4, atol=1e-6)


@pytest.fixture
def hnexport_cli(zygote: Zygote, tmp_path: Path) -> Callable[..., Done]:
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
TABULAR = [fault for fault in FAULTS.values() if fault[0] == "tabular"]


@pytest.mark.parametrize(
    ("kind", "edit", "place"),
    only(FAULTS.values(), *TABULAR),
    ids=FAULTS.keys(),
)
def test_a_planted_fault_is_found(
    kind: str, edit: Callable[..., Any], place: str | None, bundles: Callable[[Any], Any], tmp_path: Path
) -> None:
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


@pytest.mark.each_once
@pytest.mark.parametrize("artifact", WRITERS)
@pytest.mark.parametrize(
    "fault", only(RECIPE_FAULTS, *(one for one in RECIPE_FAULTS if one.kind == "tabular")), ids=str
)
def test_a_fault_planted_in_a_program_is_found(
    fault: RecipeFault, artifact: str, bundles: Callable[[Any], Any], tmp_path: Path
) -> None:
    folder = shutil.copytree(bundles(fault.kind)[2], tmp_path / "bundle")
    fault.write(artifact, folder)
    rewrite_checksums(folder)
    assert not verify(folder, VerifyOptions(artifacts=(artifact,), trust=True)).passed
    report = locate(folder, artifact, trust=True)
    assert report.first is not None
    assert report.stage == fault.stage
    assert re.search(fault.place, f"{report.first.place}: {report.first.detail}")
