"""Runners by name: several inputs and outputs, of any dtype, with and without a batch axis."""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from module_ensembles import ENSEMBLES
from onnx import GraphProto, TensorProto, helper
from shared import built_list
from thorough import first
from torch import Tensor, nn

from hnexport.bundle import read_golden, read_manifest
from hnexport.confine.trust import NOBODY, Trust
from hnexport.ensemble import Ensemble
from hnexport.errors import NotRunError, ParityError
from hnexport.parity import write_golden_inputs
from hnexport.parity.confined import ConfinedRunner, budget_of
from hnexport.parity.onnx_runners import own_model
from hnexport.parity.programs import golden_sizes, open_program
from hnexport.parity.providers import Device
from hnexport.parity.runners import RUNNERS, Runner, bundle_runner, file_runner
from hnexport.parity.signature import signature_of
from hnexport.spec.summaries import summaries

TRUSTED = Trust(everything=True)
WAYS = {"trusted": TRUSTED, "confined": NOBODY}
Edit = Callable[[GraphProto], None]


def samples(count: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in ENSEMBLES["scorer"].inputs(count, seed).items()}


@functools.cache
def exact() -> Ensemble:
    return ENSEMBLES["scorer"].ensemble().double()


def reference(member: int, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    wide = {name: value.double() if value.is_floating_point() else value for name, value in given.items()}
    with torch.no_grad():
        found = exact()(member, wide)
    return {name: value.numpy() for name, value in found.items()}


def edit_graph(path: Path, change: Edit) -> None:
    """Change an ONNX file without reading its external data."""
    model = onnx.load(path, load_external_data=False)
    change(model.graph)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def bundle() -> Path:
    return built_list("scorer").path


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def close(
    found: Mapping[str, np.ndarray], member: int, inputs: Mapping[str, np.ndarray], tolerance: float = 1e-5
) -> None:
    known = reference(member, inputs)
    assert set(found) == set(known)
    for name, value in known.items():
        assert np.shape(found[name]) == value.shape
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance)


def opened(path: Path, bundle: Path, trust: Trust = TRUSTED) -> Runner:
    manifest = read_manifest(bundle)
    return file_runner(path, manifest, Device(), trust, golden_sizes(bundle, manifest))


def runner_of(name: str, bundle: Path, trust: Trust = TRUSTED) -> Runner:
    return bundle_runner(name, bundle, read_manifest(bundle), Device(), trust)


# Every way to run a bundle.


@pytest.mark.each_once
@pytest.mark.parametrize("trust", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", RUNNERS)
def test_every_artifact_runs_by_the_names_of_the_signature(name: str, trust: Trust, bundle: Path) -> None:
    runner = runner_of(name, bundle, trust)
    assert runner.signature_faults == ()  # type: ignore[attr-defined] # every runner here has them
    assert runner.limits.runs_any_batch
    for count in (1, 6):
        inputs = samples(count, seed=count)
        for member in range(3):
            close(runner.run(member, inputs), member, inputs)
    unknown = runner.run(-1, inputs)
    assert runner.limits.unguarded == (("length",) if name == "onnx-materialised" else ())
    for output in {"scores", "length"} - set(runner.limits.unguarded):
        assert np.isnan(unknown[output]).all()


@pytest.mark.parametrize("trust", first(1, WAYS.values()), ids=WAYS)
def test_several_members_answer_by_the_names_of_the_summaries(trust: Trust, bundle: Path) -> None:
    manifest, inputs = read_manifest(bundle), samples(2)
    program = open_program(bundle / "model.pt", manifest, Device(), trust, own=True)
    graph = own_model(bundle, manifest, Device(), together=True)
    assert graph.signature_faults == ()
    ids = np.array([2, 0])
    one, other = program.ensemble(ids, inputs), graph.run_together(ids, inputs)
    assert list(one) == list(other) == [item.name for item in summaries(manifest.signature)]
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one["member_scores"][0], reference(2, inputs)["scores"], rtol=1e-5, atol=1e-6)


def test_weights_of_tied_slots_are_counted_once_for_the_budget(bundle: Path) -> None:
    slots = read_manifest(bundle).slots
    tied = (*slots, dataclasses.replace(slots[0], name="decoder.weight", alias_of=slots[0].name))
    assert budget_of(1000, tied) == budget_of(1000, slots)


# A bundle's own files have exactly the manifest's signature.


def rename_input(graph: GraphProto) -> None:
    for node in graph.node:
        node.input[:] = ["words" if name == "tokens" else name for name in node.input]
    next(item for item in graph.input if item.name == "tokens").name = "words"


def rename_output(graph: GraphProto) -> None:
    graph.node.append(helper.make_node("Identity", ["length"], ["size"]))
    next(item for item in graph.output if item.name == "length").name = "size"


def cast_output(graph: GraphProto) -> None:
    output = next(item for item in graph.output if item.name == "choice")
    for node in graph.node:
        node.output[:] = ["choice/wide" if name == "choice" else name for name in node.output]
    graph.node.append(helper.make_node("Cast", ["choice/wide"], ["choice"], to=TensorProto.INT32))
    output.type.tensor_type.elem_type = TensorProto.INT32


def further_input(graph: GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("temperature", TensorProto.FLOAT, [1]))
    graph.initializer.append(helper.make_tensor("temperature", TensorProto.FLOAT, [1], [1.0]))


def further_output(graph: GraphProto) -> None:
    graph.node.append(helper.make_node("Identity", ["length"], ["again"]))
    graph.output.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, ["batch"]))


def other_axis(graph: GraphProto) -> None:
    for item in (*graph.input, *graph.output):
        for axis in item.type.tensor_type.shape.dim:
            if axis.dim_param == "batch":
                axis.dim_param = "N"


def fixed_axis(graph: GraphProto) -> None:
    next(item for item in graph.input if item.name == "tokens").type.tensor_type.shape.dim[1].dim_value = 5


def swap_outputs(graph: GraphProto) -> None:
    held = [item.__class__.FromString(item.SerializeToString()) for item in graph.output]
    del graph.output[:]
    graph.output.extend([held[1], held[0], *held[2:]])


FAULTS: dict[str, tuple[Edit, str]] = {
    "a renamed input": (rename_input, "input 1 is words .*expected tokens"),
    "a renamed output": (rename_output, "output . is size .*expected length"),
    "another dtype": (cast_output, "choice .int32 .*expected choice .int64"),
    "a further input": (further_input, "there is a further input, temperature"),
    "a further output": (further_output, "there is a further output, again"),
    "another name of the batch axis": (other_axis, "is tokens .int64 .N, time.., expected"),
    "an open axis that is fixed": (fixed_axis, r"tokens \(int64 \[batch, 5\]\), expected tokens"),
    "another order of outputs": (swap_outputs, "output 0 is choice .*expected scores"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_signature_that_is_not_the_manifests_is_a_fault_of_a_bundles_own_file(fault: str, copied: Path) -> None:
    change, message = FAULTS[fault]
    edit_graph(copied / "model.onnx", change)
    for name in ("onnx", "onnx-reference"):
        with pytest.raises(AssertionError, match=message):
            raise AssertionError("; ".join(runner_of(name, copied).signature_faults))  # type: ignore[attr-defined] # every runner here has them


@pytest.mark.parametrize("change", [swap_outputs, other_axis, further_input])
def test_an_ensembles_signature_is_looked_at_too(change: Edit, copied: Path) -> None:
    edit_graph(copied / "ensemble.onnx", change)
    assert own_model(copied, read_manifest(copied), Device(), together=True).signature_faults


@pytest.mark.parametrize("name", ["network.onnx", "hypernet.onnx"])
def test_the_halves_signatures_are_looked_at_too(name: str, copied: Path) -> None:
    def rename(graph: GraphProto) -> None:
        graph.node.append(helper.make_node("Identity", [graph.output[0].name], ["other"]))
        graph.output[0].name = "other"

    edit_graph(copied / name, rename)
    assert any("other" in fault for fault in runner_of("onnx-materialised", copied).signature_faults)  # type: ignore[attr-defined] # every runner here has them


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


class Wide(Wrapped):
    def forward(self, cond_id: Tensor, tokens: Tensor, weighting: Tensor, shift: Tensor) -> tuple[Any, Any, Any]:
        scores, choice, length = self.inner(cond_id, tokens, weighting, shift)
        return scores, choice, length.double()


class Swapped(Wrapped):
    def forward(self, cond_id: Tensor, tokens: Tensor, weighting: Tensor, shift: Tensor) -> tuple[Any, Any, Any]:
        scores, choice, length = self.inner(cond_id, tokens, weighting, shift)
        return length, choice, scores


class Further(Wrapped):
    def forward(
        self, cond_id: Tensor, tokens: Tensor, weighting: Tensor, shift: Tensor, more: int
    ) -> tuple[Any, Any, Any]:
        scores, choice, length = self.inner(cond_id, tokens, weighting, shift)
        return scores, choice, length


class OneSize(Wrapped):
    def forward(self, cond_id: Tensor, tokens: Tensor, weighting: Tensor, shift: Tensor) -> tuple[Any, Any, Any]:
        scores, choice, length = self.inner(cond_id, tokens, weighting, shift)
        return scores.reshape(4, 4), choice, length


def scripted(bundle: Path, target: Path, wrap: type[Wrapped]) -> Path:
    inner = torch.jit.load(bundle / "model.pt")
    torch.jit.script(wrap(inner)).save(str(target))
    return target


PROGRAM_FAULTS = {
    Wide: "float64",
    Swapped: "expected .*scores",
    Further: "needs more besides",
    OneSize: "it runs batches of .4,., expected any",
}


@pytest.mark.parametrize("trust", first(1, WAYS.values()), ids=WAYS)
@pytest.mark.parametrize("wrap", first(1, PROGRAM_FAULTS))
def test_a_programs_signature_that_is_not_the_manifests_is_a_fault(
    wrap: type[Wrapped], trust: Trust, copied: Path
) -> None:
    scripted(copied, copied / "new.pt", wrap).replace(copied / "model.pt")
    with pytest.raises(AssertionError, match=PROGRAM_FAULTS[wrap]):
        raise AssertionError("; ".join(runner_of("torchscript", copied, trust).signature_faults))  # type: ignore[attr-defined] # every runner here has them


# Other people's files.


def renamed(graph: GraphProto) -> None:
    names = {"tokens": "input_ids", "weighting": "mask", "shift": "bias", "cond_id": "which"}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    held = list(graph.input)
    for item in held:
        item.name = names.get(item.name, item.name)
    for output, new in (("scores", "logits"), ("choice", "label"), ("length", "total")):
        graph.node.append(helper.make_node("Identity", [output], [new]))
        next(item for item in graph.output if item.name == output).name = new


def test_other_names_are_matched_by_dtype_and_shape(copied: Path, bundle: Path) -> None:
    edit_graph(copied / "model.onnx", renamed)
    edit_graph(copied / "model.onnx", swap_outputs)
    inputs = samples()
    runner = opened(copied / "model.onnx", bundle)
    assert runner.signature_faults == ()  # type: ignore[attr-defined] # every runner here has them
    close(runner.run(2, inputs), 2, inputs)


def test_names_that_cannot_be_told_are_refused_with_the_list(copied: Path, bundle: Path) -> None:
    edit_graph(copied / "model.onnx", renamed)
    twin = dataclasses.replace(read_manifest(bundle).inputs[2], name="second")
    manifest = read_manifest(bundle)
    manifest = dataclasses.replace(manifest, inputs=(*manifest.inputs, twin))
    with pytest.raises(ParityError, match=r"expected the inputs .*second \(float32 .*found which .*mask"):
        file_runner(copied / "model.onnx", manifest, Device())


def test_a_fixed_batch_of_all_inputs_is_a_limit_and_two_sizes_are_refused(copied: Path, bundle: Path) -> None:
    def fixed(*sizes: int) -> Edit:
        def change(graph: GraphProto) -> None:
            for name, size in zip(("tokens", "weighting"), sizes, strict=False):
                next(item for item in graph.input if item.name == name).type.tensor_type.shape.dim[0].dim_value = size

        return change

    edit_graph(copied / "model.onnx", fixed(4))
    assert opened(copied / "model.onnx", bundle).limits.batch_sizes == (4,)
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["weighting"], ["scores"]),
            helper.make_node("ArgMax", ["tokens"], ["choice"], axis=1, keepdims=0),
            helper.make_node("Identity", ["shift"], ["length"]),
        ],
        "two sizes",
        [
            helper.make_tensor_value_info("cond_id", TensorProto.INT64, []),
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [4, "time"]),
            helper.make_tensor_value_info("weighting", TensorProto.FLOAT, [3, "time"]),
            helper.make_tensor_value_info("shift", TensorProto.FLOAT, [8]),
        ],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in RETURNED.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), copied / "two.onnx")
    with pytest.raises(ParityError, match="takes 4 of tokens, 3 of weighting a call"):
        opened(copied / "two.onnx", bundle)


RETURNED = {"scores": TensorProto.FLOAT, "choice": TensorProto.INT64, "length": TensorProto.FLOAT}


class Scores(NamedTuple):
    length: Tensor
    choice: Tensor
    scores: Tensor


class ByName(Wrapped):
    """Its arguments in another order, a named tuple as its answer."""

    def forward(self, weighting: Tensor, shift: Tensor, tokens: Tensor, which: Tensor) -> Scores:
        scores, choice, length = self.inner(which, tokens, weighting, shift)
        return Scores(length, choice, scores)


class AsDict(Wrapped):
    def forward(self, cond_id: Tensor, tokens: Tensor, weighting: Tensor, shift: Tensor) -> dict[str, Tensor]:
        scores, choice, length = self.inner(cond_id, tokens, weighting, shift)
        return {"length": length, "choice": choice, "scores": scores, "more": scores}


@pytest.mark.each_once
@pytest.mark.parametrize("trust", first(1, WAYS.values()), ids=WAYS)
@pytest.mark.parametrize("wrap", [ByName, AsDict])
def test_torchscript_may_take_and_return_by_other_orders(
    wrap: type[Wrapped], trust: Trust, bundle: Path, tmp_path: Path
) -> None:
    inputs = samples()
    runner = opened(scripted(bundle, tmp_path / "a.pt", wrap), bundle, trust)
    close(runner.run(1, inputs), 1, inputs)


class TakesDict(nn.Module):
    """A network of one member's shapes whose inputs arrive in a dict."""

    def forward(self, inputs: dict[str, Tensor], cond_id: Tensor) -> dict[str, Tensor]:
        scores = (inputs["tokens"][:, :4] * inputs["weighting"][:, :4]) + inputs["shift"][:4] + cond_id
        return {"scores": scores, "choice": scores.argmax(1), "length": inputs["weighting"].sum(1)}


@pytest.mark.parametrize("trust", WAYS.values(), ids=WAYS)
def test_a_pt2_may_take_its_inputs_in_a_dict(trust: Trust, bundle: Path, tmp_path: Path) -> None:
    given = {name: torch.from_numpy(value) for name, value in samples(3).items()}
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} if name != "shift" else None for name in given}
    program = torch.export.export(TakesDict(), (given, torch.tensor(0)), dynamic_shapes=(shapes, None))
    torch.export.save(program, tmp_path / "dict.pt2")
    runner = opened(tmp_path / "dict.pt2", bundle, trust)
    found, inputs = runner.run(2, samples(5)), samples(5)
    known = TakesDict()({name: torch.from_numpy(value) for name, value in inputs.items()}, torch.tensor(2))
    np.testing.assert_array_equal(found["scores"], known["scores"].numpy())


def test_half_precision_of_one_input_is_told(copied: Path, bundle: Path) -> None:
    def narrow(graph: GraphProto) -> None:
        item = next(item for item in graph.input if item.name == "weighting")
        item.type.tensor_type.elem_type = TensorProto.FLOAT16
        for node in graph.node:
            node.input[:] = ["weighting/wide" if name == "weighting" else name for name in node.input]
        graph.node.insert(0, helper.make_node("Cast", ["weighting"], ["weighting/wide"], to=TensorProto.FLOAT))

    edit_graph(copied / "model.onnx", narrow)
    runner, inputs = opened(copied / "model.onnx", bundle), samples()
    assert runner.limits.narrow == "float16"
    close(runner.run(0, inputs), 0, inputs, 2e-2)


# Confinement.


def test_a_claim_of_huge_samples_neither_allows_huge_answers_nor_endless_time(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    huge = tuple(dataclasses.replace(item, shape=(*item.shape, 2**40)) for item in manifest.outputs[2:])
    manifest = dataclasses.replace(manifest, outputs=(*manifest.outputs[:2], *huge))
    content = (bundle / "model.pt").read_bytes()
    runner = ConfinedRunner(content, "model.pt", manifest, signature_of(manifest, {"time": 5}), own=True)
    try:
        assert runner.signature_faults
        inputs = samples()
        assert runner._bytes(manifest.outputs, inputs, 6) <= budget_of(len(content), manifest.slots).memory_bytes
        assert runner._seconds(10**6) <= 3601.0
    finally:
        runner.close()


def test_answers_by_other_names_are_malformed(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    runner = ConfinedRunner((bundle / "model.pt").read_bytes(), "model.pt", manifest, signature_of(manifest))
    runner._outputs = ["scores", "choice", "size"]
    with pytest.raises(NotRunError, match="its answer is malformed: 3 arrays, expected scores, choice, size"):
        runner.run(0, samples())


# Files for runtimes that Python cannot reach.


def test_golden_files_hold_every_input_and_ask_for_every_output(bundle: Path, tmp_path: Path) -> None:
    write_golden_inputs(bundle, tmp_path / "golden")
    golden = read_golden(bundle)
    index = json.loads((tmp_path / "golden" / "golden.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in index["inputs"]] == ["tokens", "weighting", "shift"]
    assert [item["batch"] for item in index["inputs"]] == [True, True, False]
    for item in index["inputs"]:
        raw = np.fromfile(tmp_path / "golden" / item["raw"], item["dtype"]).reshape(item["shape"])
        np.testing.assert_array_equal(raw, golden.inputs[item["name"]])
        np.testing.assert_array_equal(np.load(tmp_path / "golden" / item["npy"]), golden.inputs[item["name"]])
    count = golden.samples
    shapes = [(item["name"], item["shape"]) for item in index["outputs"]]
    assert shapes == [("scores", [count, 4]), ("choice", [count]), ("length", [count])]
    assert "shift is the same in every call" in index["what_to_do"]
    assert "choice to member-ID/choice.npy" in index["what_to_do"]
