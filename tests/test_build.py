"""From a specification to a verified bundle, or to nothing at all."""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from bundles import spec_of
from fixture_types import MakeSpec, MakeTensors
from shared import Built
from thorough import only
from torch import Tensor, nn

import hnexport.build as build_module
from hnexport.build import ONNX_ALONE_BYTES, BuildOptions, ParityFailedError, build, default_formats
from hnexport.bundle import Format, read_golden, read_manifest
from hnexport.bundle.checksums import record_file
from hnexport.bundle.golden import Golden
from hnexport.ensemble import Ensemble
from hnexport.errors import BundleError, SpecError
from hnexport.export.capture import Capture
from hnexport.hypernet.generator import WeightGenerator
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, random_checkpoint
from hnexport.networks.wide_resnet.counts import weight_summary
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.slots import NetworkSlot
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, Recipe, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.parity import sample_members
from hnexport.parity.members import checked_members
from hnexport.records import from_json, to_json
from hnexport.spec import BasisDtype, Chunking, HypernetSpec, Signature, Source

ALL_GENERATED = Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)


def checkpoint(spec: PipelineSpec, tensors: dict[str, torch.Tensor], origin: str = "a test") -> Checkpoint:
    return Checkpoint(spec=spec, tensors=tensors, origin=origin)


def wide_resnet(name: str, **changes: ImageSpec | int | bool) -> WideResNetSpec:
    return dataclasses.replace(WideResNetSpec.from_name(name), **changes)


SQUARE = ImageSpec(height=8, width=8)

SPECS = {
    "WRN-10-1 with one member (no shortcut in the first group)": PipelineSpec(
        network=wide_resnet("wrn-10-1", image=SQUARE), members=1
    ),
    "WRN-22-2": PipelineSpec(network=wide_resnet("wrn-22-2", image=SQUARE), members=2),
    "one channel, not square, 100 classes": PipelineSpec(
        network=wide_resnet("wrn-10-1", classes=100, image=ImageSpec(channels=1, height=12, width=9)), members=3
    ),
    "batch ensemble": PipelineSpec(
        network=wide_resnet("wrn-10-2", image=SQUARE), members=4, recipe=RECIPES["batch-ensemble"], hypernet=None
    ),
    "everything generated, gcd chunks, hidden layers": PipelineSpec(
        network=wide_resnet("wrn-10-3", conv_bias=True, image=SQUARE),
        members=2,
        recipe=ALL_GENERATED,
        hypernet=HypernetSpec(chunking=Chunking.GCD, hidden_layers=(8,), bias=True),
    ),
    "no batch norm": PipelineSpec(network=wide_resnet("wrn-10-1", batch_norm=False, image=SQUARE), members=2),
}


@pytest.mark.parametrize("name", only(SPECS, "batch ensemble"))
def test_a_build_verifies_every_artifact(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    result = build(random_checkpoint(spec), tmp_path / "bundle")
    assert result.parity.passed
    assert not result.parity.sampled
    assert [artifact.artifact for artifact in result.parity.artifacts] == [
        "onnx",
        "onnx-materialised",
        "torchscript",
        "pt2",
        "onnx-ensemble",
        "torchscript-ensemble",
    ]
    for artifact in result.parity.artifacts:
        assert [item.member for item in artifact.comparisons] == list(range(spec.members))
        assert artifact.worst.relative_l2 < 1e-5
    assert read_manifest(tmp_path / "bundle") == result.manifest


@pytest.mark.thorough
def test_a_thousand_members_cost_only_their_own_tensors(tmp_path: Path) -> None:
    network = wide_resnet("wrn-10-1", image=SQUARE)
    sizes = {}
    for members in (10, 1000):
        spec = PipelineSpec(network=network, members=members)
        chosen = BuildOptions(members=(0, members - 1))
        result = build(random_checkpoint(spec), tmp_path / str(members), options=chosen)
        sizes[members] = {name: record.size_bytes for name, record in result.manifest.files.items()}
        assert (result.parity.members_checked, result.parity.sampled) == ((0, members - 1), False)
    own = 4 * 990 * weight_summary(spec)["container: conditional weights"] // 1000
    alignment = 4096 * len(stored_tensors(spec))
    for name in ("weights.bin", "model.pt", "model.pt2"):
        assert sizes[1000][name] - sizes[10][name] == pytest.approx(own, abs=alignment), name


@pytest.mark.thorough
def test_of_more_members_than_there_is_time_for_a_sample_is_checked(
    tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hnexport.parity.reference.BUILD_SECONDS", 1.0)
    spec = make_spec(members=34)
    options = BuildOptions(formats=(Format.ONNX,))
    result = build(checkpoint(spec, make_tensors(spec), "a test"), tmp_path / "bundle", options=options)
    checked = result.parity.members_checked
    assert result.parity.sampled
    assert (len(checked), checked[0], checked[-1]) == (32, 0, 33)
    assert checked == sample_members(34)


def test_members_outside_the_sample_can_be_asked_for() -> None:
    assert checked_members(40, range(40)) == tuple(range(40))
    assert set(range(40)) > set(checked_members(40, None))


def test_no_file_names_a_folder_of_this_machine(built: Built) -> None:
    for path in built.path.iterdir():
        data = path.read_bytes()
        for secret in (str(built.path.parent), str(build_module.__file__).rsplit("/", 2)[0]):
            assert secret.encode() not in data, f"{path.name} holds {secret}"


def test_the_golden_samples_are_the_pipelines_float64_logits(built: Built, make_tensors: MakeTensors) -> None:
    golden = read_golden(built.path)
    spec = spec_of(built.manifest)
    tensors = {name: tensor.double() for name, tensor in make_tensors(spec).items()}
    pipeline = Pipeline(spec, tensors)
    for row, member in enumerate(golden.members.tolist()):
        logits = pipeline(torch.tensor(member), torch.from_numpy(golden.inputs["image"]).double())
        torch.testing.assert_close(torch.from_numpy(golden.outputs["logits"][row]), logits, rtol=1e-12, atol=1e-12)


def test_parity_json_and_the_manifest_agree(built: Built) -> None:
    value = json.loads((built.path / "parity.json").read_text())
    assert value["passed"] is True
    assert value["members_checked"] == [0, 1, 2]
    for artifact in value["artifacts"]:
        worst = max(item["relative_l2"] for item in artifact["comparisons"])
        assert built.manifest.parity[artifact["artifact"]].relative_l2 == worst
    for name, record in built.manifest.files.items():
        assert record_file(built.path / name) == record


def test_only_the_formats_that_were_asked_for_are_written(
    tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec = make_spec()
    options = BuildOptions(formats=(Format.PT2,))
    result = build(checkpoint(spec, make_tensors(spec), "a test"), tmp_path / "bundle", options=options)
    assert "model.pt2" in result.manifest.files
    assert not {"model.onnx", "weights.bin", "model.pt"} & set(result.manifest.files)
    assert set(result.parity.not_run) >= {"onnx", "onnx-materialised", "torchscript"}
    assert result.manifest.onnx is None


@pytest.mark.thorough
def test_a_target_may_be_text_and_a_result_is_shown_in_a_line(
    tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec, options = make_spec(), BuildOptions(formats=(Format.PT2,))
    result = build(checkpoint(spec, make_tensors(spec), "a test"), str(tmp_path / "bundle"), options=options)
    assert result.path == tmp_path / "bundle"
    assert len(repr(result)) < 500


def test_an_existing_target_is_kept_unless_forced(
    tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec = make_spec()
    options = BuildOptions(formats=(Format.PT2,))
    build(checkpoint(spec, make_tensors(spec, seed=1), "first"), tmp_path / "bundle", options=options)
    with pytest.raises(BundleError, match="exists: choose another target, or give force=True to replace it"):
        build(checkpoint(spec, make_tensors(spec, seed=2), "second"), tmp_path / "bundle", options=options)
    assert read_manifest(tmp_path / "bundle").origin == "first"
    forced = dataclasses.replace(options, force=True)
    build(checkpoint(spec, make_tensors(spec, seed=2), "second"), tmp_path / "bundle", options=forced)
    assert read_manifest(tmp_path / "bundle").origin == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_forced_build_refuses_a_bundle_with_a_file_that_no_build_wrote(
    bundle: Path, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    (bundle / "thesis.txt").write_text("precious")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    options = BuildOptions(formats=(Format.PT2,), force=True)
    with pytest.raises(BundleError, match=r"holds thesis\.txt, which its manifest does not list"):
        build(checkpoint(make_spec(), make_tensors(make_spec()), "a test"), bundle, options=options)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


@pytest.mark.thorough
def test_each_file_is_hashed_once(
    tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[int] = Counter()
    sound = hashlib.file_digest

    def counted(file: Any, *arguments: object, **options: Any) -> Any:
        counts[os.fstat(file.fileno()).st_ino] += 1
        return sound(file, *arguments, **options)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    spec = make_spec()
    result = build(checkpoint(spec, make_tensors(spec)), tmp_path / "bundle")
    written = [(tmp_path / "bundle" / name).stat().st_ino for name in result.manifest.files]
    assert counts == dict.fromkeys(written, 1)


def test_above_a_gibibyte_onnx_alone_is_written_by_default() -> None:
    assert default_formats(ONNX_ALONE_BYTES) == tuple(Format)
    assert default_formats(ONNX_ALONE_BYTES + 1) == (Format.ONNX,)


def test_the_onnx_files_say_what_they_are(built: Built) -> None:
    for name in ("model.onnx", "ensemble.onnx", "hypernet.onnx", "network.onnx"):
        model = onnx.load(built.path / name, load_external_data=False)
        held = {entry.key: entry.value for entry in model.metadata_props}
        assert held["hnexport.name"] == built.manifest.name
        assert held["hnexport.origin"] == built.manifest.origin
        assert held["hnexport.family"] == "wide-resnet"
        assert json.loads(held["hnexport.spec"]) == to_json(built.manifest.source.spec)
        assert from_json(Signature, json.loads(held["hnexport.signature"])) == built.manifest.signature


def test_bases_of_what_has_none_are_refused(make_spec: MakeSpec, make_tensors: MakeTensors, tmp_path: Path) -> None:
    ensemble = checkpoint(make_spec(), make_tensors(make_spec())).ensemble()
    with pytest.raises(SpecError, match="has no bases to store in float16"):
        build(ensemble, tmp_path / "bundle", options=BuildOptions(bases=BasisDtype.FLOAT16))


# Mistakes in the exported ensemble: the reference is computed by a sound one, the files by one of these.


class Wrong(nn.Module):
    """A generator that changes the condition id, or what the sound one gives."""

    def __init__(
        self,
        sound: Any,
        change_id: Callable[[Tensor], Tensor] | None = None,
        change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.sound, self.change_id, self.change = (sound,), change_id, change
        for name, part in sound.named_children():
            self.add_module(name, part)

    def forward(self, cond_id: Tensor) -> dict[Any, Any] | Any:
        weights = dict(self.sound[0](cond_id if self.change_id is None else self.change_id(cond_id)))
        return weights if self.change is None else self.change(weights)


def roll(weights: dict[str, Tensor]) -> dict[Any, Any]:
    kernel = weights["group3.block1.conv2.weight"]
    return {**weights, "group3.block1.conv2.weight": kernel.roll(kernel.shape[1] // 2, dims=1)}


MISTAKES = {
    "baked in": ({"change_id": lambda cond_id: cond_id * 0 + 1}, "the condition seems baked in"),
    "swapped": (
        {"change_id": lambda cond_id: torch.where(cond_id == 0, 1, torch.where(cond_id == 1, 0, cond_id))},
        "member 0: relative L2 error",
    ),
    "permuted chunk": ({"change": roll}, "relative L2 error"),
    "unguarded": (
        {"change_id": lambda cond_id: cond_id.clamp(0, 2)},
        "ids that do not exist give NaN: cond_id -1 returned numbers",
    ),
    "missing weight": (
        {"change": lambda weights: {**weights, "output.bias": weights["output.bias"] * 0}},
        "relative L2 error",
    ),
}


@pytest.mark.each_once
@pytest.mark.parametrize("file_format", [Format.TORCHSCRIPT, Format.PT2], ids=str)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_files_is_caught_and_nothing_is_published(
    mistake: str,
    file_format: Format,
    tmp_path: Path,
    make_spec: MakeSpec,
    make_tensors: MakeTensors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes, message = MISTAKES[mistake]
    sound = build_module.capture  # type: ignore[attr-defined] # what a test or a tool reaches for there

    def wrong(ensemble: Ensemble) -> Capture:
        return sound(dataclasses.replace(ensemble, generator=Wrong(ensemble.generator, **changes).eval()))

    monkeypatch.setattr(build_module, "capture", wrong)
    spec = make_spec()
    options = BuildOptions(formats=(file_format,), force=True)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text('{"schema": "hnexport-bundle", "name": "before"}')
    with pytest.raises(ParityFailedError, match="nothing was published") as failure:
        build(checkpoint(spec, make_tensors(spec), "a mistake"), tmp_path / "bundle", options=options)
    failures = [line for artifact in failure.value.report.artifacts for line in artifact.failures]
    assert any(message in line for line in failures), failures
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == '{"schema": "hnexport-bundle", "name": "before"}'


def test_a_wrong_weight_in_the_onnx_files_is_caught(
    tmp_path: Path, make_spec: MakeSpec, make_tensors: MakeTensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble = WeightGenerator._assemble

    def reversed_chunks(self: WeightGenerator, slot: NetworkSlot, chunks: Any) -> Tensor:
        kernel = assemble(self, slot, chunks)
        return kernel.flip(1) if slot.name == "group3.block1.conv1.weight" else kernel

    spec, tensors = make_spec(), make_tensors(make_spec())
    sound = build_module.compute_golden  # type: ignore[attr-defined] # what a test or a tool reaches for there

    def sound_reference(*arguments: object, **options: Any) -> Golden:
        with monkeypatch.context() as patch:
            patch.setattr(WeightGenerator, "_assemble", assemble)
            return sound(*arguments, **options)

    monkeypatch.setattr(build_module, "compute_golden", sound_reference)
    monkeypatch.setattr(WeightGenerator, "_assemble", reversed_chunks)
    options = BuildOptions(formats=(Format.ONNX,))
    with pytest.raises(ParityFailedError) as failure:
        build(checkpoint(spec, tensors), tmp_path / "bundle", options=options)
    assert [artifact.passed for artifact in failure.value.report.artifacts] == [False, False, False]
    assert not list(tmp_path.iterdir())
