import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypnettorch_ensembles import CASES, build
from safetensors import safe_open

from hnexport.errors import CheckpointError, SpecError
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import ImageLayout, PipelineSpec, PreprocessSpec, WideResNetSpec
from hnexport.records import to_json
from hnexport.spec import BasisDtype, HypernetSpec
from hnexport.spec.usage import Normalisation, Usage

SPEC = PipelineSpec(
    network=WideResNetSpec(blocks_per_group=1, widening=1, feature_maps=(4, 4, 8, 8)),
    members=2,
    hypernet=HypernetSpec(embedding_sizes=(3,) * 6, hidden_layers=(5,), bias=True),
    member_statistics=True,
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return Checkpoint(spec=SPEC, tensors=Pipeline.from_seed(SPEC, 1).tensors(), origin="a test")


def test_what_is_saved_is_loaded(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "ensemble.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert loaded.spec == checkpoint.spec
    assert loaded.tensors.keys() == checkpoint.tensors.keys()
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())
    assert loaded.origin.startswith("hnexport ensemble.safetensors (sha256 ")
    assert loaded.origin.endswith(", from a test")


SAID = Usage(
    normalisation=Normalisation(mean=(0.5,), std=(0.25,)),
    class_names={"logits": tuple(f"class {number}" for number in range(SPEC.network.classes))},
    license="cc-by-4.0",
    assumed=("image-size",),
)


def test_what_is_said_is_saved_where_there_is_such(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name, usage in (("none", Usage()), ("some", SAID)):
        path = tmp_path / f"{name}.safetensors"
        save_checkpoint(path, checkpoint.with_usage(usage))
        assert load_checkpoint(path).usage == usage
        assert load_checkpoint(path).ensemble().usage == usage
        with safe_open(path, framework="pt") as file:
            assert ("usage" in file.metadata()) == (usage != Usage())


def test_what_was_assumed_by_an_older_version_is_read(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    metadata = {"format": "hnexport-checkpoint", "version": "1", "spec": json.dumps(to_json(SPEC))}
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata=metadata | {"assumed": "image-size, normalisation"})
    assert load_checkpoint(path).usage == Usage(assumed=("image-size", "normalisation"))


BAD_USAGE = {
    "no JSON": ("{", r"metadata 'usage' is not what can be said"),
    "unknown field": ('{"licence": "mit"}', r"\$: unknown field 'licence'"),
    "number": ('{"normalisation": {"mean": ["half"]}}', r"\$\.normalisation\.mean\[0\]: expected a number"),
    "std": ('{"normalisation": {"std": [0.0]}}', r"std positive"),
    "channels": ('{"normalisation": {"mean": [0.1, 0.2]}}', r"mean needs 1 or 3 numbers, one a channel, found 2"),
    "classes": ('{"class_names": {"logits": ["cat"]}}', r"logits has 10 classes, found 1 names"),
}


@pytest.mark.parametrize(("text", "message"), BAD_USAGE.values(), ids=BAD_USAGE.keys())
def test_what_cannot_be_said_of_a_checkpoint_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.safetensors"
    metadata = {"format": "hnexport-checkpoint", "version": "1", "spec": json.dumps(to_json(SPEC)), "usage": text}
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=message) as refused:
        load_checkpoint(path)
    assert str(refused.value).startswith(str(path))


@pytest.mark.parametrize("dtype", [BasisDtype.INT8, BasisDtype.INT4])
def test_integers_are_saved_and_loaded_as_they_are(dtype: BasisDtype, checkpoint: Checkpoint, tmp_path: Path) -> None:
    rounded, path = checkpoint.with_bases(dtype), tmp_path / "ensemble.safetensors"
    save_checkpoint(path, rounded)
    loaded = load_checkpoint(path)
    assert loaded.spec == rounded.spec
    assert loaded.tensors[BASIS].dtype is (torch.int8 if dtype is BasisDtype.INT8 else torch.uint8)
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in rounded.tensors.items())


def test_float16_bases_are_saved_and_loaded_as_float16(checkpoint: Checkpoint, tmp_path: Path) -> None:
    rounded, path = checkpoint.with_bases(BasisDtype.FLOAT16), tmp_path / "ensemble.safetensors"
    save_checkpoint(path, rounded)
    with safe_open(path, framework="pt") as file:
        dtypes = {name: file.get_slice(name).get_dtype() for name in rounded.tensors}
    assert {name for name, dtype in dtypes.items() if dtype == "F16"} == {
        name for name in dtypes if name.endswith(".basis")
    }
    loaded = load_checkpoint(path)
    assert loaded.spec == rounded.spec
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in rounded.tensors.items())


@pytest.mark.parametrize(
    ("dtype", "what"),
    [
        (BasisDtype.FLOAT32, r"basis': expected dtype F32, found F16"),
        (BasisDtype.FLOAT16, r"basis': expected dtype F16, found F32"),
        (BasisDtype.INT8, r"basis_scales' is missing"),
        (BasisDtype.INT4, r"basis_scales' is missing"),
    ],
)
def test_a_basis_of_another_dtype_than_the_specification_says_is_refused(
    dtype: BasisDtype, what: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    other = next(member for member in BasisDtype if member is not dtype)
    metadata = {"format": "hnexport-checkpoint", "version": "1"}
    metadata["spec"] = json.dumps(to_json(checkpoint.with_bases(dtype).spec))
    tensors = dict(checkpoint.with_bases(other).tensors)
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=what):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["hypernetwork container", "batch ensemble", "statistics for each member"])
def test_an_imported_ensemble_survives_the_native_format(name: str, tmp_path: Path) -> None:
    imported = build(CASES[name]).checkpoint()
    save_checkpoint(tmp_path / "a.safetensors", imported)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.spec == imported.spec
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in imported.tensors.items())


def test_a_loaded_checkpoint_does_not_change_with_its_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    with path.open("r+b") as file:  # in place: the same inode, which a memory map would show
        size = path.stat().st_size
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())


def test_saving_replaces_a_native_checkpoint_and_leaves_nothing_beside_it(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, dataclasses.replace(checkpoint, origin="before"))
    save_checkpoint(path, checkpoint)
    assert "before" not in load_checkpoint(path).origin
    assert load_checkpoint(path).spec == SPEC
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_damaged_native_checkpoint_is_replaced_too(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    path.write_bytes(path.read_bytes()[:-100])
    save_checkpoint(path, checkpoint)
    assert load_checkpoint(path).spec == SPEC


def write_another_safetensors(path: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(1)}, path, metadata={"format": "pt"})


OTHERS: dict[str, Callable[[Path], Any]] = {
    "a text": lambda path: path.write_text("years of work"),
    "an empty file": lambda path: path.touch(),
    "a file that claims a header of 2**63 bytes": lambda path: path.write_bytes(b"\xff" * 8 + b"{}"),
    "another safetensors file": write_another_safetensors,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("replace", [True, False])
def test_what_is_no_native_checkpoint_is_never_replaced(
    make: Callable[[Path], Any], replace: bool, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    make(path)
    before = path.lstat()
    with pytest.raises(CheckpointError, match=r"is not a native checkpoint|is a symbolic link|exists: choose another"):
        save_checkpoint(path, checkpoint, replace=replace)
    assert (path.lstat().st_ino, path.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_that_appears_while_a_checkpoint_is_written_stays(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, save = tmp_path / "a.safetensors", safetensors.torch.save_file

    def appear(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        path.write_text("years of work")

    monkeypatch.setattr(safetensors.torch, "save_file", appear)
    for replace in (False, True):
        path.unlink(missing_ok=True)
        with pytest.raises(CheckpointError, match=r"appeared meanwhile|is not a native checkpoint"):
            save_checkpoint(path, checkpoint, replace=replace)
        assert path.read_text() == "years of work"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_others_may_read_what_was_saved_as_they_may_read_other_files(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_saving_that_fails_leaves_the_file_as_it_was(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    before = path.read_bytes()

    def fail(tensors: Any, target: Path, **_: Any) -> None:
        target.write_text("half", encoding="utf-8")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(CheckpointError, match="could not be written: no space left"):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_saving_into_a_directory_that_is_not_there_is_an_error(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no cannot be written to: No such file or directory"):
        save_checkpoint(tmp_path / "no" / "a.safetensors", checkpoint)
    assert not (tmp_path / "no").exists()


def write(path: Path, checkpoint: Checkpoint, tensors: dict[str, Any] | None = None, **metadata: str | None) -> Path:
    """A native checkpoint, put together by hand as other training code would."""
    fields = {"format": "hnexport-checkpoint", "version": "1", "spec": json.dumps(to_json(checkpoint.spec))}
    given = {**fields, **metadata}
    kept = {name: value for name, value in given.items() if value is not None}
    changed = {**{name: tensor.detach().clone() for name, tensor in checkpoint.tensors.items()}, **(tensors or {})}
    present = {name: tensor for name, tensor in changed.items() if tensor is not None}
    safetensors.torch.save_file(present, path / "a.safetensors", metadata=kept)
    return path / "a.safetensors"


def test_a_file_that_other_code_wrote_is_read(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert load_checkpoint(write(tmp_path, checkpoint)).spec == SPEC


def spec_json(**changes: Any) -> str:
    return json.dumps({**to_json(SPEC), **changes})


BASIS = "hypernet.input.basis"
VARIANCE = "member.norm.running_var"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another format": ({"format": "other"}, "expected metadata 'format' 'hnexport-checkpoint', found 'other'"),
    "no format": ({"format": None}, r"found None.*hnexport convert"),
    "a later version": ({"version": "2"}, "reads version 1 of the format, found '2'"),
    "no specification": ({"spec": None}, "'spec' is not a specification"),
    "a specification that is no JSON": ({"spec": "{"}, "'spec' is not a specification"),
    "a nested specification": ({"spec": "[" * 100_000}, "'spec' is not a specification"),
    "an unknown field": ({"spec": spec_json(colour="red")}, r"\$: unknown field 'colour'"),
    "a value out of range": ({"spec": spec_json(members=0)}, "members must be at least 1"),
    "other members": ({"spec": spec_json(members=3)}, r"expected shape \[3, .*found \[2, "),
    "a deeper network": (
        {"spec": spec_json(network=to_json(SPEC.network) | {"blocks_per_group": 10**12})},
        "blocks_per_group is 1000000000000, at most 1000",
    ),
    "embedding sizes of another network": (
        {"spec": spec_json(hypernet=to_json(SPEC.hypernet) | {"embedding_sizes": [3]})},
        "'spec' is not a specification: expected 6 embedding sizes",
    ),
    "a missing tensor": ({"tensors": {BASIS: None}}, f"tensor '{BASIS}' is missing"),
    "an extra tensor": ({"tensors": {"surprise": torch.zeros(1)}}, "tensor 'surprise' belongs to no slot"),
    "a transposed tensor": ({"tensors": {BASIS: torch.zeros(108, 5)}}, r"expected shape \[5, 108\], found \[108, 5\]"),
    "float64": ({"tensors": {BASIS: torch.zeros(5, 108, dtype=torch.float64)}}, "expected dtype F32, found F64"),
    "integers": ({"tensors": {BASIS: torch.zeros(5, 108, dtype=torch.int32)}}, "expected dtype F32, found I32"),
    "NaN": ({"tensors": {BASIS: torch.full((5, 108), float("nan"))}}, r"finite numbers, found nan at \[0, 0\]"),
    "infinity": ({"tensors": {BASIS: torch.full((5, 108), -float("inf"))}}, "finite numbers, found -inf"),
    "negative variance": ({"tensors": {VARIANCE: torch.full((2, 8), -1.0)}}, "at least 0, found -1"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_wrong_is_refused(
    changes: dict[str, Any], message: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = write(tmp_path, checkpoint, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 0.5, -1], ids=str)
def test_a_truncated_file_is_refused(keep: float, checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = write(tmp_path, checkpoint)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_checkpoint(path)


def test_an_enormous_declared_shape_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = json.dumps({BASIS: {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_checkpoint(path)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found nothing"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_the_file_holds_the_tensors_once_and_the_specification_as_json(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["spec"]) == to_json(SPEC)
        assert set(file.keys()) == set(checkpoint.tensors)


WRONG: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "float64": (torch.Tensor.double, "expected a dense float32 tensor on the CPU, found torch.float64"),
    "shape": (lambda tensor: tensor[:-1], "expected shape"),
    "NaN": (lambda tensor: tensor * float("nan"), "expected finite numbers"),
    "meta": (lambda tensor: tensor.to("meta"), "on meta"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_checkpoint_checks_its_tensors(
    change: Callable[[torch.Tensor], torch.Tensor], message: str, checkpoint: Checkpoint
) -> None:
    tensors = {**checkpoint.tensors, BASIS: change(checkpoint.tensors[BASIS].detach())}
    with pytest.raises(CheckpointError, match=f"tensor '{BASIS}'.*{message}"):
        dataclasses.replace(checkpoint, tensors=tensors)


def test_a_checkpoint_cannot_be_changed(checkpoint: Checkpoint) -> None:
    with pytest.raises(TypeError):
        checkpoint.tensors["a"] = torch.zeros(1)  # type: ignore[index]


def test_the_image_input_can_be_chosen_after_training(checkpoint: Checkpoint) -> None:
    normalise = PreprocessSpec(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    changed = checkpoint.with_input(preprocess=normalise)
    assert changed.spec.image_input == ("uint8", (32, 32, 3))
    assert changed.spec.preprocess == normalise
    assert checkpoint.with_input(image_layout=ImageLayout.FLAT_HWC).spec.image_input == ("float32", (3072,))
    with pytest.raises(SpecError, match="set image_layout to nhwc"):
        checkpoint.with_input(image_layout=ImageLayout.NCHW, preprocess=normalise)


def test_preprocessing_in_the_graph_equals_normalising_before_it(checkpoint: Checkpoint) -> None:
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    changed = checkpoint.with_input(preprocess=PreprocessSpec(mean=tuple(mean.tolist()), std=tuple(std.tolist())))
    normalised = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        found = Pipeline(changed.spec, changed.tensors)(torch.tensor(1), pixels)
        expected = Pipeline(checkpoint.spec, checkpoint.tensors)(torch.tensor(1), normalised)
    torch.testing.assert_close(found, expected)
