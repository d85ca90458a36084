"""A member as a plain file computes what the bundle's golden samples say, in every format, of every kind of bundle."""

import dataclasses
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
from member_kinds import KINDS
from thorough import first, only
from torch import nn

from hnexport import __version__
from hnexport.build import BuildOptions, build
from hnexport.bundle import read_golden, read_manifest
from hnexport.bundle.manifest import Format, read_identified
from hnexport.ensemble import Ensemble
from hnexport.errors import BundleError, ExportError, NotRunError, ParityError, RuntimeInputError
from hnexport.member import MemberFormat, MemberOptions, MembersFailedError, onnx_file, write_members
from hnexport.names import PT2_FILE, WEIGHTS_FILE
from hnexport.records import from_json
from hnexport.rows import row_errors
from hnexport.spec.usage import Usage

SUFFIXES = ("onnx", "pt2", "pt")
OF_MANY_OPERATORS = ("Wide ResNet", "list, cnn", "list, scorer", "list, recurrent", "gelu", "recipe")
IN_EVERY_RUN = ("Wide ResNet", "list, cnn", "gelu")
TRUSTING = MemberOptions(trust=True)


def outputs_of(path: Path, inputs: dict, names: list[str]) -> dict[str, np.ndarray]:
    """What anybody's loader gets, by name."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, inputs), strict=True))
    module = torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(path)
    with torch.no_grad():
        found = module(*(torch.from_numpy(array) for array in inputs.values()))
    assert isinstance(found, torch.Tensor) == (len(names) == 1)  # as of the bundle's own programs
    return dict(zip(names, [found] if isinstance(found, torch.Tensor) else found, strict=True))


def check(path: Path, bundle: Path, member: int) -> None:
    golden, signature = read_golden(bundle), read_manifest(bundle).signature
    row = golden.members.tolist().index(member)
    found = outputs_of(path, dict(golden.inputs), [output.name for output in signature.outputs])
    for output in signature.outputs:
        known, value = golden.outputs[output.name][row], np.asarray(found[output.name])
        if not output.is_floating:
            assert (value == known).all()
            continue
        pair = (value, known) if output.has_batch else (value[None], known[None])
        assert (row_errors(*pair) <= np.maximum(1e-5, 10 * golden.noise[output.name][row])).all()


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Any], Path]:
    """A copy of a bundle, to be tampered with."""
    return lambda kind: Path(shutil.copytree(KINDS[kind](), tmp_path / "bundle"))


@pytest.mark.each_once
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", only(KINDS, *IN_EVERY_RUN))
def test_a_member_is_a_plain_network_of_its_own(kind: str, suffix: str, tmp_path: Path) -> None:
    bundle, path = KINDS[kind](), tmp_path / f"plain.{suffix}"
    written = write_members(bundle, [1], path, options=TRUSTING)
    assert (written.files, written.beside, written.parity.passed) == ({1: path}, (), True)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    check(path, bundle, 1)


@pytest.mark.parametrize("kind", only(KINDS, *IN_EVERY_RUN))
def test_nothing_of_the_id_or_of_other_members_is_left_in_the_graph(kind: str, tmp_path: Path) -> None:
    bundle, path = KINDS[kind](), tmp_path / "plain.onnx"
    write_members(bundle, [1], path)
    graph, signature = onnx.load(path).graph, read_manifest(bundle).signature
    assert [item.name for item in graph.input] == [item.name for item in signature.inputs]
    reached, computed = {item.name for item in graph.input}, {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        assert reached.intersection(node.input), f"{node.op_type} {node.name} is constant"
        reached.update(node.output)
        computed.difference_update(node.input)
    assert not computed
    slots = sum(slot.size_bytes for slot in read_manifest(bundle).slots if slot.alias_of is None)
    assert path.stat().st_size < 1.2 * slots + 20_000


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_members_are_a_folder_of_files(suffix: str, tmp_path: Path) -> None:
    bundle = KINDS["gelu"]()
    options = dataclasses.replace(TRUSTING, format=MemberFormat(suffix))
    written = write_members(bundle, None, tmp_path / "members", options=options)
    assert sorted(item.name for item in (tmp_path / "members").iterdir()) == [f"member-{k}.{suffix}" for k in (0, 1)]
    for member, path in written.files.items():
        check(path, bundle, member)
    assert [item.artifact for item in written.parity.artifacts] == [f"member-{k}.{suffix}" for k in (0, 1)]


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    bundle, digest = KINDS["gelu"](), read_identified(KINDS["gelu"]()).digest
    expected = {
        "hnexport.name": "gelu-2",
        "hnexport.member": "1",
        "hnexport.bundle": digest,
        "hnexport.version": __version__,
    }
    for suffix in SUFFIXES:
        write_members(bundle, [1], tmp_path / f"plain.{suffix}", options=TRUSTING)
    found = {item.key: item.value for item in onnx.load(tmp_path / "plain.onnx").metadata_props}
    assert found == expected
    extra = dict.fromkeys(expected, "")
    torch.export.load(tmp_path / "plain.pt2", extra_files=extra)
    assert extra == expected
    held: dict[str, Any] = dict.fromkeys(expected, "")  # bytes afterwards
    torch.jit.load(tmp_path / "plain.pt", _extra_files=held)
    assert {name: value.decode() for name, value in held.items()} == expected


def test_a_file_says_what_is_said_of_its_bundle(copied: Callable[[Any], Path], tmp_path: Path) -> None:
    bundle = copied("gelu")
    value = json.loads((bundle / "manifest.json").read_text())
    value["usage"] = {"license": "cc-by-4.0"}
    (bundle / "manifest.json").write_text(json.dumps(value))
    for suffix in SUFFIXES:
        write_members(bundle, [1], tmp_path / f"plain.{suffix}", options=TRUSTING)
    one, two, three = ({"hnexport.usage": ""} for _ in range(3))
    one |= {item.key: item.value for item in onnx.load(tmp_path / "plain.onnx").metadata_props}
    torch.export.load(tmp_path / "plain.pt2", extra_files=two)
    torch.jit.load(tmp_path / "plain.pt", _extra_files=three)
    for found in (one, two, three):
        assert from_json(Usage, json.loads(found["hnexport.usage"])) == Usage(license="cc-by-4.0")


@pytest.mark.each_once
@pytest.mark.parametrize("opset", [17, 18, 21, 22])
@pytest.mark.parametrize("kind", only(OF_MANY_OPERATORS, *IN_EVERY_RUN))
def test_an_opset_can_be_asked_for(kind: str, opset: int, tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    write_members(KINDS[kind](), [0], path, options=MemberOptions(opset=opset))
    model = onnx.load(path)
    assert {item.domain: item.version for item in model.opset_import}[""] == opset
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))
    check(path, KINDS[kind](), 0)


@pytest.mark.parametrize("opset", [16, 99])
def test_an_opset_out_of_range_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"opset {opset}: expected 17 to"):
        write_members(KINDS["gelu"](), [0], tmp_path / "plain.onnx", options=MemberOptions(opset=opset))


@pytest.mark.each_once
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", first(2, ["Wide ResNet of pixels", "list, scorer", "list, recurrent"]))
def test_the_batch_can_be_fixed(kind: str, suffix: str, tmp_path: Path) -> None:
    bundle, path = KINDS[kind](), tmp_path / f"plain.{suffix}"
    written = write_members(bundle, [0], path, options=dataclasses.replace(TRUSTING, batch=2))
    assert written.parity.batch_sizes == (2,)
    if suffix == "onnx":
        graph = onnx.load(path).graph
        sizes = [size for item in graph.input for size in item.type.tensor_type.shape.dim]
        assert not any(size.dim_param == "batch" for size in sizes)
        if kind == "list, recurrent":
            assert "Shape" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize(
    ("target", "options", "members", "message"),
    [
        ("plain.onnx", MemberOptions(), [2], "member 2 does not exist: this ensemble has members 0 to 1"),
        ("plain.onnx", MemberOptions(), [-1], "member -1 does not exist"),
        ("plain.onnx", MemberOptions(), [], "no member was named"),
        ("plain.onnx", MemberOptions(), None, "is one file, of 2 members: give a folder"),
        ("plain.tflite", MemberOptions(), [0], "a member is written as .onnx, .pt2, .pt, found .tflite"),
        ("plain.onnx", MemberOptions(format=MemberFormat.PT2), [0], "ends in .onnx, the format asked for is pt2"),
        ("plain.pt2", MemberOptions(opset=17), [0], "opset is of ONNX files"),
        ("plain.onnx", MemberOptions(batch=0), [0], "a batch size is 1 to"),
        ("plain.onnx", MemberOptions(digest="sha256:" + 64 * "0"), [0], "digest"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    target: str, options: MemberOptions, members: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises((ParityError, RuntimeInputError, BundleError), match=message):
        write_members(KINDS["gelu"](), members, tmp_path / target, options=options)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_and_force_replaces_members_files_alone(tmp_path: Path) -> None:
    bundle, path = KINDS["gelu"](), tmp_path / "plain.onnx"
    force = MemberOptions(force=True)
    path.write_bytes(b"mine")
    for options, message in ((None, "exists"), (force, "is no member's file of hnexport")):
        with pytest.raises(BundleError, match=message):
            write_members(bundle, [0], path, options=options)
    assert path.read_bytes() == b"mine"
    path.unlink()
    write_members(bundle, [0], path)
    write_members(bundle, [1], path, options=force)
    check(path, bundle, 1)


def test_capitals_in_a_suffix_are_the_same_suffix(tmp_path: Path) -> None:
    bundle = KINDS["gelu"]()
    for suffix in SUFFIXES:
        path = tmp_path / f"plain.{suffix.upper()}"
        for member in (0, 1):
            write_members(bundle, [member], path, options=dataclasses.replace(TRUSTING, force=True))
        path.rename(lower := tmp_path / f"plain.{suffix}")
        check(lower, bundle, 1)


def test_nothing_is_written_into_a_bundle(copied: Callable[[Any], Path]) -> None:
    bundle = copied("gelu")
    before = sorted(bundle.rglob("*"))
    (bundle.parent / "link").symlink_to(bundle)
    for target in (bundle / "plain.onnx", bundle / "new" / "members", bundle.parent / "link" / "plain.onnx"):
        with pytest.raises(BundleError, match=r"lies in the bundle .*, which never changes: choose another target"):
            write_members(bundle, [0], target)
    assert sorted(bundle.rglob("*")) == before


def test_force_replaces_a_folder_of_members_and_no_other(tmp_path: Path) -> None:
    bundle, folder = KINDS["gelu"](), tmp_path / "members"
    write_members(bundle, None, folder)
    with pytest.raises(BundleError, match="exists"):
        write_members(bundle, [0], folder)
    write_members(bundle, [0], folder, options=MemberOptions(force=True))
    assert [item.name for item in folder.iterdir()] == ["member-0.onnx"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"holds notes\.txt"):
        write_members(bundle, [0], folder, options=MemberOptions(force=True))
    assert (folder / "notes.txt").read_text() == "mine"


def test_weights_that_changed_after_the_build_are_not_published_as_onnx(
    copied: Callable[[Any], Path], tmp_path: Path
) -> None:
    bundle = copied("list, cnn")
    data = bytearray((bundle / WEIGHTS_FILE).read_bytes())
    numbers = np.frombuffer(data, dtype=np.float32)
    numbers *= np.float32(1.001)
    (bundle / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(BundleError, match=r"weights\.bin"):
        write_members(bundle, [0], tmp_path / "plain.onnx")
    rewrite_checksums(bundle)
    with pytest.raises(MembersFailedError, match="nothing was published") as failure:
        write_members(bundle, [0, 1], tmp_path / "members")
    assert not failure.value.report.passed
    assert [item.name for item in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("suffix", ["pt2", "pt"])
def test_weights_that_changed_after_the_build_are_not_published_as_programs(
    suffix: str, copied: Callable[[Any], Path], tmp_path: Path
) -> None:
    bundle = copied("gelu")
    program = torch.export.load(bundle / PT2_FILE)
    for tensor in program.state_dict.values():
        tensor.data.mul_(1.001)
    torch.export.save(program, bundle / PT2_FILE)
    rewrite_checksums(bundle)
    with pytest.raises(MembersFailedError, match="member 0"):
        write_members(bundle, [0], tmp_path / f"plain.{suffix}", options=TRUSTING)
    assert [item.name for item in tmp_path.iterdir()] == ["bundle"]


def test_a_program_of_somebody_else_is_not_loaded(copied: Callable[[Any], Path], tmp_path: Path) -> None:
    bundle = copied("gelu")
    rewrite_checksums(bundle)  # nobody remembers its digest
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"origin": "', '"origin": "another: '))
    with pytest.raises(NotRunError, match="trust=True"):
        write_members(bundle, [0], tmp_path / "plain.pt2")
    write_members(bundle, [0], tmp_path / "plain.onnx")  # is no program


def test_a_member_that_one_file_cannot_hold_has_its_weights_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_INLINE_BYTES", 2**10)
    bundle, folder = KINDS["list, cnn"](), tmp_path / "members"
    with pytest.raises(ExportError, match="give a folder"):
        write_members(bundle, [1], tmp_path / "plain.onnx")
    assert not list(tmp_path.iterdir())
    written = write_members(bundle, [1, 2], folder)
    names = [f"member-{k}.onnx{more}" for k in (1, 2) for more in ("", ".data")]
    assert sorted(item.name for item in folder.iterdir()) == names
    assert written.beside == (folder / "member-1.onnx", folder / "member-2.onnx")
    check(folder / "member-2.onnx", bundle, 2)
    write_members(bundle, [1], folder, options=MemberOptions(force=True))
    assert sorted(item.name for item in folder.iterdir()) == names[:2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_nan_image_gives_nan(suffix: str, tmp_path: Path) -> None:
    write_members(KINDS["Wide ResNet"](), [1], tmp_path / f"plain.{suffix}", options=TRUSTING)
    images = np.zeros((3, 3, 8, 8), np.float32)
    images[1, 0, 4, 4] = np.nan
    found = np.asarray(outputs_of(tmp_path / f"plain.{suffix}", {"image": images}, ["logits"])["logits"])
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]


class Vector(nn.Module):
    """`(cond_id, vector) -> weights` of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hyper, self.embeddings = nn.Linear(6, 15), nn.Embedding(2, 6)

    def forward(self, cond_id: torch.Tensor, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        weight, bias = self.hyper(vector + self.embeddings(cond_id)).split([12, 3])
        return {"weight": weight.view(3, 4), "bias": bias}


def test_a_hypernetwork_of_a_vector_has_no_plain_members(tmp_path: Path) -> None:
    torch.manual_seed(7)
    ensemble = Ensemble.from_hypernetwork(
        Vector().eval(),
        nn.Linear(4, 3).eval(),
        members=2,
        example_inputs={"vector": torch.zeros(6), "input": torch.zeros(1, 4)},
    )
    build(ensemble, tmp_path / "bundle", options=BuildOptions(formats=(Format.ONNX,)))
    with pytest.raises(RuntimeInputError, match="makes a member's weights of vector, an input"):
        write_members(tmp_path / "bundle", [0], tmp_path / "plain.onnx")


def test_a_program_needs_the_bundles_own(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no model\.pt2"):
        write_members(build_onnx_alone(tmp_path), [0], tmp_path / "plain.pt2")


def build_onnx_alone(folder: Path) -> Path:
    ensemble = Ensemble.from_modules([nn.Linear(4, 3).eval() for _ in range(2)], example_inputs=torch.zeros(1, 4))
    return build(ensemble, folder / "alone", options=BuildOptions(formats=(Format.ONNX,))).path
