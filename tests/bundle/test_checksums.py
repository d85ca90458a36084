"""Checksums find every damaged file."""

from pathlib import Path

import pytest

from hnexport.bundle import read_golden, read_manifest
from hnexport.bundle.checksums import check_files
from hnexport.errors import BundleError

FILES = (
    "ensemble.onnx",
    "golden.safetensors",
    "hypernet.onnx",
    "model.onnx",
    "model.pt",
    "model.pt2",
    "network.onnx",
    "parity.json",
    "weights.bin",
)


def test_an_intact_bundle_passes_and_the_manifest_lists_all_its_files(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    check_files(bundle, manifest, manifest.files)
    assert set(manifest.files) == {path.name for path in bundle.iterdir()} - {"manifest.json", "README.md"}
    assert set(FILES) <= set(manifest.files)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_the_file_named(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 0x10
    (bundle / name).write_bytes(data)
    manifest = read_manifest(bundle)
    with pytest.raises(BundleError, match=rf"{name} is damaged: expected SHA-256"):
        check_files(bundle, manifest, manifest.files)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found_and_named(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[:-1])
    manifest = read_manifest(bundle)
    with pytest.raises(BundleError, match=rf"{name} is damaged: expected {len(data)} bytes, found {len(data) - 1}"):
        check_files(bundle, manifest, manifest.files)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "model.pt").unlink()
    manifest = read_manifest(bundle)
    with pytest.raises(BundleError, match=r"model.pt is missing"):
        check_files(bundle, manifest, manifest.files)


def test_a_file_that_the_manifest_does_not_know_is_an_error(bundle: Path) -> None:
    with pytest.raises(BundleError, match="has no other.onnx in its manifest; it holds ensemble.onnx, golden"):
        check_files(bundle, read_manifest(bundle), ["other.onnx"])


def test_damaged_golden_samples_are_a_bundle_error(bundle: Path) -> None:
    (bundle / "golden.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(BundleError, match="golden.safetensors cannot be read"):
        read_golden(bundle)
