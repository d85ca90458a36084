"""Reading files: every way in which they are written, and every way in which they are broken or hostile."""

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypnettorch.utils.torch_ckpts import save_checkpoint
from hypnettorch_ensembles import Case, Ensemble, build

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints import load_hypnettorch, read_state_dicts


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return build(Case(k=1, members=2, no_weights=True))


def flat(states: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """As safetensors hold it: each tensor once, names with their network in front."""
    return {
        f"{network}.{name}": tensor.clone()
        for network, state in states.items()
        for name, tensor in state.items()
        if not name.startswith("_layer_")
    }


def write_pt(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    torch.save(ensemble.state_dicts(), path / "ensemble.pt")
    return {"checkpoint": path / "ensemble.pt"}


def write_pt_with_bookkeeping(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    torch.save({**ensemble.state_dicts(), "epoch": 3, "optimizer": {"lr": 0.1}}, path / "ensemble.pt")
    return {"checkpoint": path / "ensemble.pt"}


def write_old_pt(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    torch.save(ensemble.state_dicts(), path / "ensemble.pt", _use_new_zipfile_serialization=False)
    return {"checkpoint": path / "ensemble.pt"}


def write_two_pt(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    torch.save(ensemble.hnet.state_dict(), path / "hnet.pt")
    torch.save(ensemble.mnet.state_dict(), path / "mnet.pt")
    return {"hnet": path / "hnet.pt", "mnet": path / "mnet.pt"}


def write_data_parallel(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    torch.save({f"module.{name}": value for name, value in ensemble.hnet.state_dict().items()}, path / "hnet.pt")
    torch.save({f"_orig_mod.module.{name}": value for name, value in ensemble.mnet.state_dict().items()}, path / "m.pt")
    return {"hnet": path / "hnet.pt", "mnet": path / "m.pt"}


def write_with_hypnettorch(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    for name, network in (("hnet", ensemble.hnet), ("mnet", ensemble.mnet)):
        save_checkpoint({"state_dict": network.state_dict(), "train_iter": 7}, str(path / name), 0.9, train_iter=7)
    return {"hnet": path / "hnet_7", "mnet": path / "mnet_7"}


def write_one_with_hypnettorch(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    save_checkpoint({"state_dict": ensemble.state_dicts(), "train_iter": 7}, str(path / "both"), 0.9, train_iter=7)
    return {"checkpoint": path / "both_7"}


def write_safetensors(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    safetensors.torch.save_file(flat(ensemble.state_dicts()), path / "ensemble.safetensors")
    return {"checkpoint": path / "ensemble.safetensors"}


def write_two_safetensors(path: Path, ensemble: Ensemble) -> dict[str, Path]:
    safetensors.torch.save_model(ensemble.hnet, path / "hnet.safetensors")
    safetensors.torch.save_model(ensemble.mnet, path / "mnet.safetensors")
    return {"hnet": path / "hnet.safetensors", "mnet": path / "mnet.safetensors"}


WRITERS: dict[str, Callable[[Path, Ensemble], dict[str, Path]]] = {
    "one .pt": write_pt,
    "one .pt with other entries": write_pt_with_bookkeeping,
    "one .pt in the format before PyTorch 1.6": write_old_pt,
    "two .pt": write_two_pt,
    "two .pt of wrapped modules": write_data_parallel,
    "two of hypnettorch's save_checkpoint": write_with_hypnettorch,
    "one of hypnettorch's save_checkpoint": write_one_with_hypnettorch,
    "one .safetensors": write_safetensors,
    "two .safetensors": write_two_safetensors,
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_every_way_of_writing_gives_the_same_checkpoint(
    writer: Callable[[Path, Ensemble], dict[str, Path]], ensemble: Ensemble, tmp_path: Path
) -> None:
    found, expected = load_hypnettorch(**writer(tmp_path, ensemble)), ensemble.checkpoint()
    assert found.spec == expected.spec
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())


def test_the_origin_names_the_files_and_their_digests(ensemble: Ensemble, tmp_path: Path) -> None:
    paths: dict[str, Any] = write_two_pt(tmp_path, ensemble)
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    origin = load_hypnettorch(**paths).origin
    assert origin == f"hypnettorch hnet.pt (sha256 {digests['hnet']}) and mnet.pt (sha256 {digests['mnet']})"


class RunsCode:
    """A pickle that creates a file where it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(zipped: bool, tmp_path: Path) -> None:
    bait, path = tmp_path / "ran", tmp_path / "ensemble.pt"
    torch.save({"hnet": {"_internal_params.0": RunsCode(bait)}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"only code can build \(\w+\.system\).*never runs code.*state_dict"):
        load_hypnettorch(path)
    assert not bait.exists()
    torch.load(path, weights_only=False)  # the bait works
    assert bait.exists()


def test_a_pickled_module_is_refused(ensemble: Ensemble, tmp_path: Path) -> None:
    path = tmp_path / "mnet.pt"
    torch.save({"hnet": torch.nn.Linear(2, 2)}, path)
    with pytest.raises(CheckpointError, match=r"Linear.*never runs code.*save the state dicts alone.*--from"):
        load_hypnettorch(path)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def with_a_flipped_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"this is not a checkpoint\n" * 10,
    "truncated": truncated,
    "truncated by one byte": lambda data: data[:-1],
    "first bytes only": lambda data: data[:4],
    "zeros": lambda data: bytes(len(data)),
    "a flipped bit": with_a_flipped_bit,
}


@pytest.mark.parametrize("breaking", BROKEN)
def test_a_broken_pt_file_is_refused(breaking: str, ensemble: Ensemble, tmp_path: Path) -> None:
    path = write_pt(tmp_path, ensemble)["checkpoint"]
    path.write_bytes(BROKEN[breaking](path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"ensemble\.pt: (not a complete PyTorch checkpoint|holds more than)"):
        load_hypnettorch(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ensemble.pt"]


@pytest.mark.parametrize("breaking", sorted(set(BROKEN) - {"a flipped bit"}))  # safetensors has no checksum
def test_a_broken_safetensors_file_is_refused(breaking: str, ensemble: Ensemble, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path, ensemble)["checkpoint"]
    path.write_bytes(BROKEN[breaking](path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"ensemble\.safetensors: not a complete safetensors file"):
        load_hypnettorch(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ensemble.safetensors"]


def rewrite(path: Path, entry: str, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Replace one entry of the zip archive that a .pt file is."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info.filename) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, change(data) if name.endswith(entry) else data)


def with_another_number(number: int, opcode: bytes) -> Callable[[bytes], bytes]:
    """Replace the number 4 in front of an opcode by a large one (pickle's LONG1)."""

    def change(data: bytes) -> bytes:
        changed = data.replace(b"K\x04" + opcode, b"\x8a\x08" + number.to_bytes(8, "little") + opcode)
        assert changed != data
        return changed

    return change


@pytest.mark.parametrize("opcode", [b"\x85", b"t"], ids=["shape", "storage"])
def test_an_enormous_declared_shape_is_refused_before_memory_is_taken(opcode: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ensemble.pt"
    torch.save({"hnet": {"_internal_params.0": torch.zeros(4)}, "mnet": {}}, path)
    rewrite(path, "data.pkl", with_another_number(2**50, opcode))
    with pytest.raises(CheckpointError, match="not a complete PyTorch checkpoint"):
        load_hypnettorch(path)


def test_a_shape_that_repeats_one_number_endlessly_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.pt"
    torch.save({"hnet": {"_internal_params.0": torch.zeros(1).expand(10**12)}, "mnet": {}}, path)
    message = r"'_internal_params\.0': declares shape \[1000000000000\], but the file holds 1 numbers"
    with pytest.raises(CheckpointError, match=message):
        load_hypnettorch(path)


def test_an_enormous_declared_shape_in_safetensors_is_refused(tmp_path: Path) -> None:
    header = b'{"hnet._internal_params.0":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    path = tmp_path / "ensemble.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_hypnettorch(path)


def test_a_compressed_archive_is_refused_because_it_could_unpack_to_anything(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.pt"
    torch.save({"hnet": {"_internal_params.0": torch.zeros(1_000_000)}, "mnet": {}}, path)
    rewrite(path, "data.pkl", lambda data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"is compressed; expected a file of torch\.save"):
        load_hypnettorch(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dict of state dicts, found list"),
        ({}, "expected the entries 'hnet' and 'mnet', found no hypernetwork of hypnettorch: ensemble.pt holds nothing"),
        ({"generator": {}, "weights": {}}, "holds 'generator' (dict), 'weights' (dict)"),
        ({"hnet": {}}, "hnet: expected a state dict"),
        ({"hnet": {"a": 1}}, "hnet tensor 'a': expected a tensor, found int"),
        ({"hnet": {1: torch.zeros(1)}}, "hnet tensor 1: expected a tensor"),
        ({"hnet": {"a": torch.zeros(2).to_sparse()}}, "expected a dense tensor"),
        ({"hnet": {"a": torch.zeros(2, device="meta")}}, "expected a dense tensor"),
        ({"hnet": {"a": torch.zeros(2)}, "mnet": [1]}, "mnet: expected a state dict, found list"),
        ({"hnet.a": torch.zeros(2), "x": torch.zeros(2)}, "(ensemble.pt holds 'hnet' (1 tensor), 'x' (1 tensor))"),
    ],
)
def test_content_that_is_no_pair_of_state_dicts_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "ensemble.pt")
    with pytest.raises(CheckpointError, match=re.escape(message)):
        load_hypnettorch(tmp_path / "ensemble.pt")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a checkpoint file, found nothing"):
        load_hypnettorch(tmp_path / "missing.pt")
    with pytest.raises(CheckpointError, match="is a folder, expected a regular file; give a checkpoint file"):
        load_hypnettorch(tmp_path)


def test_one_file_or_two_but_not_both(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for arguments in ({}, {"checkpoint": path, "hnet": path}, {"mnet": path}):
        with pytest.raises(CheckpointError, match="name either one checkpoint with both networks"):
            read_state_dicts(**arguments)
    with pytest.raises(CheckpointError, match="goes with the hypernetwork's"):
        read_state_dicts(path, mnet=path)


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.pt"
    path.write_bytes(pickle.dumps({"hnet": {}}))
    with pytest.raises(CheckpointError, match=r"ensemble\.pt: "):
        load_hypnettorch(path)
