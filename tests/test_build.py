"""From a specification to a verified bundle, or to nothing at all."""

import dataclasses
import json

import pytest
import torch

import hnexport.build as build_module
from hnexport.build import BuildOptions, ParityFailedError, build
from hnexport.bundle import Format, read_golden, read_manifest
from hnexport.bundle.checksums import record_file
from hnexport.errors import BundleError
from hnexport.hypernet.generator import WeightGenerator
from hnexport.hypernet.storage import count_weights, stored_tensors
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, random_checkpoint
from hnexport.networks.wide_resnet.module import network_skeleton
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, Recipe, WideResNetSpec
from hnexport.parity import sample_members
from hnexport.spec import Chunking, HypernetSpec, Source

ALL_GENERATED = Recipe(convolution=Source.GENERATED, norm=Source.GENERATED, output=Source.GENERATED)


def checkpoint(spec: PipelineSpec, tensors: dict[str, torch.Tensor], origin: str = "a test") -> Checkpoint:
    return Checkpoint(spec=spec, tensors=tensors, origin=origin)


def wide_resnet(name: str, **changes) -> WideResNetSpec:
    return dataclasses.replace(WideResNetSpec.from_name(name), **changes)


SPECS = {
    "WRN-10-1 with one member (no shortcut in the first group)": PipelineSpec(
        network=wide_resnet("wrn-10-1"), members=1
    ),
    "WRN-40-4": PipelineSpec(network=wide_resnet("wrn-40-4", image=ImageSpec(height=8, width=8)), members=2),
    "one channel, not square, 100 classes": PipelineSpec(
        network=wide_resnet("wrn-16-2", classes=100, image=ImageSpec(channels=1, height=20, width=13)), members=3
    ),
    "batch ensemble": PipelineSpec(
        network=wide_resnet("wrn-10-2"), members=4, recipe=RECIPES["batch-ensemble"], hypernet=None
    ),
    "everything generated, gcd chunks, hidden layers": PipelineSpec(
        network=wide_resnet("wrn-10-3", conv_bias=True),
        members=2,
        recipe=ALL_GENERATED,
        hypernet=HypernetSpec(chunking=Chunking.GCD, hidden_layers=(8,), bias=True),
    ),
    "no batch norm": PipelineSpec(network=wide_resnet("wrn-10-1", batch_norm=False), members=2),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_build_verifies_every_artifact(name, tmp_path):
    spec = SPECS[name]
    result = build(random_checkpoint(spec), tmp_path / "bundle")
    assert result.parity.passed
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


def test_a_thousand_members_cost_only_their_own_tensors(tmp_path):
    network = wide_resnet("wrn-10-1")
    sizes = {}
    for members in (10, 1000):
        spec = PipelineSpec(network=network, members=members)
        result = build(random_checkpoint(spec), tmp_path / str(members))
        sizes[members] = {name: record.size_bytes for name, record in result.manifest.files.items()}
        assert result.parity.sampled is (members == 1000)
    own = 4 * 990 * count_weights(spec).conditional // 1000
    alignment = 4096 * len(stored_tensors(spec))
    for name in ("weights.bin", "model.pt", "model.pt2"):
        assert sizes[1000][name] - sizes[10][name] == pytest.approx(own, abs=alignment), name
    checked = result.parity.members_checked
    assert 32 <= len(checked) < 1000
    assert checked[0] == 0
    assert checked[-1] == 999
    assert checked == sample_members(1000, count=len(checked))


def test_members_outside_the_sample_can_be_asked_for(tmp_path, make_spec, make_tensors):
    spec = make_spec(members=40)
    options = BuildOptions(members=tuple(range(40)), formats=(Format.ONNX,))
    result = build(checkpoint(spec, make_tensors(spec), "a test"), tmp_path / "bundle", options=options)
    assert result.parity.members_checked == tuple(range(40))
    assert not result.parity.sampled


def test_no_file_names_a_folder_of_this_machine(built):
    for path in built.path.iterdir():
        data = path.read_bytes()
        for secret in (str(built.path.parent), str(build_module.__file__).rsplit("/", 2)[0]):
            assert secret.encode() not in data, f"{path.name} holds {secret}"


def test_the_golden_samples_are_the_pipelines_float64_logits(built, make_tensors):
    golden = read_golden(built.path)
    spec = built.manifest.spec
    tensors = {name: tensor.double() for name, tensor in make_tensors(spec).items()}
    pipeline = Pipeline(spec, tensors)
    for row, member in enumerate(golden.members.tolist()):
        logits = pipeline(torch.tensor(member), torch.from_numpy(golden.images).double())
        torch.testing.assert_close(torch.from_numpy(golden.logits[row]), logits, rtol=1e-12, atol=1e-12)


def test_parity_json_and_the_manifest_agree(built):
    value = json.loads((built.path / "parity.json").read_text())
    assert value["passed"] is True
    assert value["members_checked"] == [0, 1, 2]
    for artifact in value["artifacts"]:
        worst = max(item["relative_l2"] for item in artifact["comparisons"])
        assert built.manifest.parity[artifact["artifact"]].relative_l2 == worst
    for name, record in built.manifest.files.items():
        assert record_file(built.path / name) == record


def test_only_the_formats_that_were_asked_for_are_written(tmp_path, make_spec, make_tensors):
    spec = make_spec()
    options = BuildOptions(formats=(Format.PT2,))
    result = build(checkpoint(spec, make_tensors(spec), "a test"), tmp_path / "bundle", options=options)
    assert "model.pt2" in result.manifest.files
    assert not {"model.onnx", "weights.bin", "model.pt"} & set(result.manifest.files)
    assert set(result.parity.not_run) >= {"onnx", "onnx-materialised", "torchscript"}
    assert result.manifest.onnx is None


def test_an_existing_target_is_kept_unless_forced(tmp_path, make_spec, make_tensors):
    spec = make_spec()
    options = BuildOptions(formats=(Format.PT2,))
    build(checkpoint(spec, make_tensors(spec, seed=1), "first"), tmp_path / "bundle", options=options)
    with pytest.raises(BundleError, match="exists: choose another --out, or give --force"):
        build(checkpoint(spec, make_tensors(spec, seed=2), "second"), tmp_path / "bundle", options=options)
    assert read_manifest(tmp_path / "bundle").origin == "first"
    forced = dataclasses.replace(options, force=True)
    build(checkpoint(spec, make_tensors(spec, seed=2), "second"), tmp_path / "bundle", options=forced)
    assert read_manifest(tmp_path / "bundle").origin == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_forced_build_refuses_a_bundle_with_a_file_that_no_build_wrote(bundle, make_spec, make_tensors):
    (bundle / "thesis.txt").write_text("precious")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    options = BuildOptions(formats=(Format.PT2,), force=True)
    with pytest.raises(BundleError, match=r"holds thesis\.txt, which its manifest does not list"):
        build(checkpoint(make_spec(), make_tensors(make_spec()), "a test"), bundle, options=options)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


# Mistakes in the exported pipeline: the reference is computed by a sound one, the files by one of these.


class BakedIn(Pipeline):
    """What the legacy tracer does: the condition is a constant."""

    def forward(self, cond_id, image):
        return super().forward(cond_id * 0 + 1, image)


class Swapped(Pipeline):
    """Members 0 and 1 change places."""

    def forward(self, cond_id, image):
        return super().forward(torch.where(cond_id == 0, 1, torch.where(cond_id == 1, 0, cond_id)), image)


class PermutedChunk(Pipeline):
    """One kernel's chunks are joined in the wrong order."""

    def classify(self, weights, image):
        weights = dict(weights)
        kernel = weights["group3.block1.conv2.weight"]
        weights["group3.block1.conv2.weight"] = kernel.roll(kernel.shape[1] // 2, dims=1)
        return super().classify(weights, image)


class BatchStatistics(Pipeline):
    """Batch norm in training mode."""

    def __init__(self, spec, tensors):
        super().__init__(spec, tensors)
        skeleton = network_skeleton(spec.network)
        for module in skeleton.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train()
                module.track_running_stats = False
                module.running_mean = module.running_var = None
        self._skeleton = (skeleton,)

    def classify(self, weights, image):
        return super().classify({k: v for k, v in weights.items() if "running" not in k}, image)


class Unguarded(Pipeline):
    """An id that does not exist is clamped to one that does, and nothing says so."""

    def forward(self, cond_id, image):
        return super().forward(cond_id.clamp(0, self.spec.members - 1), image)


class MissingWeight(Pipeline):
    """One tensor is left at zero."""

    def classify(self, weights, image):
        return super().classify({**weights, "output.bias": torch.zeros_like(weights["output.bias"])}, image)


MISTAKES = {
    BakedIn: "the condition seems baked in",
    Swapped: "member 0: relative L2 error",
    PermutedChunk: "relative L2 error",
    BatchStatistics: "a row does not depend on the others",
    Unguarded: "ids that do not exist give NaN: cond_id -1 returned numbers",
    MissingWeight: "relative L2 error",
}


@pytest.mark.parametrize("file_format", [Format.TORCHSCRIPT, Format.PT2], ids=str)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda kind: kind.__name__)
def test_a_mistake_in_the_files_is_caught_and_nothing_is_published(
    mistake, file_format, tmp_path, make_spec, make_tensors, monkeypatch
):
    monkeypatch.setattr(build_module, "Pipeline", mistake)
    spec = make_spec()
    options = BuildOptions(formats=(file_format,), force=True)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text('{"schema": "hnexport-bundle", "name": "before"}')
    with pytest.raises(ParityFailedError, match="nothing was published") as failure:
        build(checkpoint(spec, make_tensors(spec), "a mistake"), tmp_path / "bundle", options=options)
    failures = [line for artifact in failure.value.report.artifacts for line in artifact.failures]
    assert any(MISTAKES[mistake] in line for line in failures), failures
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == '{"schema": "hnexport-bundle", "name": "before"}'


def test_a_wrong_weight_in_the_onnx_files_is_caught(tmp_path, make_spec, make_tensors, monkeypatch):
    assemble = WeightGenerator._assemble

    def reversed_chunks(self, slot, chunks):
        kernel = assemble(self, slot, chunks)
        return kernel.flip(1) if slot.name == "group3.block1.conv1.weight" else kernel

    spec, tensors = make_spec(), make_tensors(make_spec())
    sound = build_module.compute_golden

    def sound_reference(*arguments, **options):
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
