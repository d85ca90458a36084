"""`locate` names the module's own path in networks of any kind, of which the bundle knows no more than its graphs."""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from bundles import rewrite_checksums
from faults import OnnxEditor
from module_ensembles import BRANCHING
from module_faults import MODULE_FAULTS, ModuleFault
from shared import built_kind, built_list
from thorough import first, only

from hnexport.bundle import read_manifest, write_manifest
from hnexport.bundle.manifest import Format
from hnexport.errors import ParityError
from hnexport.parity.locate import locate

KINDS = ("transformer", "reader", "cnn", "recurrent", "resnet", "branching")
BY_NAME = {fault.name: fault for fault in MODULE_FAULTS}
EACH_KIND = [BY_NAME[name] for name in ("another choice", "GroupNorm's groups", "a slope of PReLU")]


def bundle_of(kind: str) -> Path:
    """Not to be changed."""
    return (built_kind(kind, BRANCHING) if kind == "branching" else built_list(kind)).path


@pytest.mark.each_once
@pytest.mark.parametrize("artifact", ["onnx", "torchscript", "pt2"])
@pytest.mark.parametrize("kind", only(KINDS, "reader", "cnn", "recurrent"))
def test_locate_finds_nothing_in_a_correct_artifact(kind: str, artifact: str) -> None:
    report = locate(bundle_of(kind), artifact, trust=True)
    assert report.first is None, report.first
    assert report.reference == "network.onnx of the bundle, float32"
    slots = {slot.name for slot in read_manifest(bundle_of(kind)).slots}
    seen = {step.place for step in report.steps if step.kind == "assembled weight" and not step.detail}
    assert seen == slots


@pytest.mark.thorough
def test_locate_follows_a_program_that_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = bundle_of("reader")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is remembered there
    report = locate(bundle, "torchscript")
    assert "confined" in report.runtime
    assert report.first is None, report.first


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ModuleFault, str], str]:
    """The file of a fault, written once, which nobody may change."""
    return functools.cache(lambda fault, artifact: str(fault.write(artifact, tmp_path_factory.mktemp("fault"))))


@pytest.mark.parametrize("fault", only(MODULE_FAULTS, *EACH_KIND), ids=str)
def test_locate_names_the_module(fault: ModuleFault, written: Callable[[ModuleFault, str], str]) -> None:
    report = locate(bundle_of(fault.kind), written(fault, "onnx"))
    assert report.first is not None
    assert (report.stage, report.first.place) == (fault.stage, fault.place)


@pytest.mark.parametrize(
    ("artifact", "name"),
    first(
        1,
        [
            ("pt2", "GroupNorm's groups"),
            ("torchscript", "LayerNorm's epsilon"),
            ("torchscript", "a residual dropped"),
            ("pt2", "members swapped"),
            ("pt2", "a GRU's gates swapped"),
        ],
    ),
)
def test_locate_names_the_module_in_a_program(artifact: str, name: str, tmp_path: Path) -> None:
    fault = BY_NAME[name]
    report = locate(bundle_of(fault.kind), str(fault.write(artifact, tmp_path)), trust=True)
    assert report.first is not None
    place = report.first.place
    assert (report.stage, place.rpartition(".")[0]) == (
        fault.stage,
        fault.place.rpartition(".")[0],
    ) or place == fault.place


@pytest.mark.thorough
def test_locate_says_whose_weights_they_are(written: Callable[[ModuleFault, str], str]) -> None:
    report = locate(bundle_of("transformer"), written(BY_NAME["members swapped"], "onnx"), member=1)
    assert report.first is not None
    assert report.first.detail == "it is member 0's"


@pytest.mark.thorough
def test_locate_finds_a_fault_in_the_bundles_own_model(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_of("transformer"), tmp_path / "bundle"))
    editor = OnnxEditor(copy / "model.onnx")
    norm = next(node for node in editor.graph.node if node.op_type == "LayerNormalization")
    editor.attribute(norm, "epsilon", 0.01)
    editor.save()
    rewrite_checksums(copy)
    report = locate(copy, "onnx")
    assert report.first is not None
    assert (report.stage, report.first.place) == ("inference", "encoder.layers.0.norm1")


@pytest.mark.thorough
def test_locate_needs_no_names_of_nodes_and_values(tmp_path: Path) -> None:
    model = onnx.load(bundle_of("transformer") / "model.onnx")
    fixed = {item.name for item in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {}
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        for field in (node.input, node.output):
            field[:] = [
                name if name in fixed or not name else names.setdefault(name, f"v{len(names)}") for name in field
            ]
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "renamed.onnx")
    report = locate(bundle_of("transformer"), str(tmp_path / "renamed.onnx"))
    assert report.first is None, report.first


def test_locate_refuses_where_the_reference_itself_is_damaged(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_of("recurrent"), tmp_path / "bundle"))
    editor = OnnxEditor(copy / "network.onnx")
    gru = next(node for node in editor.graph.node if node.op_type == "GRU")
    editor.attribute(gru, "linear_before_reset", 0)
    editor.save()
    rewrite_checksums(copy)
    with pytest.raises(ParityError, match="is no reference: its output departs from the golden samples"):
        locate(copy, "onnx")


def test_locate_refuses_a_bundle_without_a_graph_to_follow(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_of("recurrent"), tmp_path / "bundle"))
    manifest = read_manifest(copy)
    held = {
        name: record for name, record in manifest.files.items() if not name.endswith(".onnx") and name != "weights.bin"
    }
    write_manifest(
        copy, dataclasses.replace(manifest, formats=(Format.PT2, Format.TORCHSCRIPT), onnx=None, files=held, parity={})
    )
    with pytest.raises(ParityError, match="holds no ONNX files"):
        locate(copy, "pt2", trust=True)
