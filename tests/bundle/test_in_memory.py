"""A bundle whose files are bytes: read, verified and loaded as one in a folder."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from shared import Built

from hnexport.bundle.golden import read_golden
from hnexport.bundle.in_memory import SafetensorsBytes
from hnexport.errors import BundleError, ProviderError, RuntimeInputError
from hnexport.reading import ReadError
from hnexport.runtime import load as load_bundle

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7), "c": np.zeros((0, 4), np.uint8)}


@pytest.fixture
def files(built: Built) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in built.path.iterdir()}


@pytest.fixture
def images(built: Built) -> np.ndarray:
    return read_golden(built.path, built.manifest).inputs["image"]


@pytest.mark.parametrize("strategy", ["generated", "materialised"])
def test_it_predicts_bit_for_bit_what_the_folder_does(
    built: Built, files: dict[str, bytes], images: np.ndarray, strategy: str
) -> None:
    here = load_bundle(files, provider="cpu", check="all", strategy=strategy, threads=1)
    there = load_bundle(built.path, provider="cpu", check="none", strategy=strategy, threads=1)
    files.clear()
    np.testing.assert_array_equal(here.predict(images, members="all"), there.predict(images, members="all"))


def test_buffers_that_change_afterwards_change_nothing(files: dict[str, bytes], images: np.ndarray) -> None:
    """Also not what lies with gaps, as every second byte of another buffer does."""
    buffers = {name: bytearray(data) for name, data in files.items()}
    spread = bytearray(2 * len(files["hypernet.onnx"]))
    spread[::2] = files["hypernet.onnx"]
    given = {**buffers, "hypernet.onnx": memoryview(spread)[::2]}
    ensemble = load_bundle(given, provider="cpu", strategy="generated", threads=1)
    before = ensemble.predict(images, members="all")
    for buffer in buffers.values():
        buffer[:] = bytes(len(buffer))
    np.testing.assert_array_equal(ensemble.predict(images, members="all"), before)
    with_gaps: dict[str, Any] = {**files, "hypernet.onnx": memoryview(spread)[::2]}
    load_bundle(with_gaps, provider="cpu", strategy="materialised")


def test_nothing_is_written(
    files: dict[str, bytes], images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    load_bundle(files, provider="cpu", check="all").predict(images, member=0)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_archive_is_a_mapping_in_one_line(built: Built, images: np.ndarray, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        for path in built.path.iterdir():
            archive.write(path, path.name)
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        ensemble = load_bundle({name: archive.read(name) for name in archive.namelist()}, provider="cpu")
    assert ensemble.predict(images, member=1).shape == (len(images), ensemble.classes)


@pytest.mark.parametrize("name", ["weights.bin", "model.onnx", "golden.safetensors"])
def test_a_changed_byte_is_refused_by_name(files: dict[str, bytes], name: str) -> None:
    data = bytearray(files[name])
    data[len(data) // 2] ^= 1
    changed: dict[str, Any] = {**files, name: data}
    with pytest.raises(BundleError, match=f"{name} is damaged: its SHA-256 is not the manifest's"):
        load_bundle(changed, provider="cpu", strategy="generated")


def test_a_file_that_is_cut_off_or_missing_is_refused_by_name(files: dict[str, bytes]) -> None:
    for checksums in ("remembered", "never"):
        with pytest.raises(BundleError, match=r"weights.bin is damaged: expected \d+ bytes"):
            cut = {**files, "weights.bin": files["weights.bin"][:-4]}
            load_bundle(cut, provider="cpu", strategy="generated", checksums=checksums)
    del files["golden.safetensors"]
    with pytest.raises(BundleError, match="lacks golden.safetensors: give the bytes"):
        load_bundle(files, provider="cpu")
    assert load_bundle(files, provider="cpu", check="none").members


def test_the_digest_is_the_folders(built: Built, files: dict[str, bytes]) -> None:
    load_bundle(files, provider="cpu", check="none", digest=built.digest)
    with pytest.raises(BundleError, match="the bundle in memory is not the bundle that was asked for"):
        load_bundle(files, provider="cpu", digest="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "is no bundle: it has no manifest.json"),
        ({"manifest.json": "text"}, "expected file names with their bytes, found 'manifest.json' with str"),
        ({1: b""}, "expected file names with their bytes, found 1 with bytes"),
        ({"manifest.json": b"{}"}, "manifest.json is not the manifest of a bundle"),
    ],
    ids=["empty", "text", "no name", "another manifest"],
)
def test_what_is_no_bundle_is_refused(given: dict[Any, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load_bundle(given)


def test_what_needs_a_folder_says_so(files: dict[str, bytes]) -> None:
    for options in ({"engine": "openvino"}, {"tune": True}):
        with pytest.raises(RuntimeInputError, match="write it to a folder first"):
            load_bundle(files, **options)
    with pytest.raises(ProviderError, match="run `hnexport tune` once on a folder with its files, or choose another"):
        load_bundle(files, strategy="folded")
    with pytest.raises(RuntimeInputError, match="a mapping from file names to bytes"):
        load_bundle(files["manifest.json"])


def test_safetensors_are_read_as_safetensors_reads_them() -> None:
    data = save(TENSORS, metadata={"x": "y"})
    found = SafetensorsBytes(memoryview(data))
    assert found.metadata() == {"x": "y"}
    assert set(found.keys()) == set(load(data))
    for name, tensor in load(data).items():
        np.testing.assert_array_equal(found.get_tensor(name), tensor)
        assert found.get_slice(name).get_shape() == list(tensor.shape)


def with_header(entry: object) -> bytes:
    header = json.dumps({"a": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        with_header(3),
        with_header({"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}),
        with_header({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}),
        with_header({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}),
        with_header({"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}),
        with_header({"dtype": "F32", "shape": [2], "data_offsets": [4, 2]}),
        with_header({"dtype": "F32", "data_offsets": [0, 8]}),
    ],
    ids=["empty", "length", "no entry", "beyond", "shape", "negative", "a boolean", "backwards", "no shape"],
)
def test_damaged_safetensors_are_refused(data: bytes) -> None:
    with pytest.raises(ReadError):
        SafetensorsBytes(memoryview(data))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_a_hubs_cache_and_a_folder_that_may_not_be_written_load_too(
    built: Built, images: np.ndarray, tmp_path: Path
) -> None:
    """As model hubs lay it out: every file a link to one in a store, named by its hash; nothing may be written."""
    store, snapshot = tmp_path / "blobs", tmp_path / "snapshots/main"
    store.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(built.path.iterdir()):
        (store / f"{number:064x}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{number:064x}")
    for folder in (store, snapshot):
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
    try:
        expected = load_bundle(built.path, provider="cpu", threads=1).predict(images, members="all")
        for strategy in ("generated", "materialised"):
            found = load_bundle(snapshot, provider="cpu", check="all", strategy=strategy, threads=1)
            np.testing.assert_allclose(found.predict(images, members="all"), expected, rtol=1e-4, atol=1e-3)
    finally:
        for folder in (store, snapshot):
            folder.chmod(0o755)
