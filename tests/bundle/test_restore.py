"""Stored tensors come back from a bundle of any format."""

import dataclasses

import pytest
import torch
from bundles import spec_of
from fixture_types import MakeTensors
from shared import Built

from hnexport.bundle import Format, read_manifest
from hnexport.bundle.restore import restore_tensors
from hnexport.confine.trust import Trust
from hnexport.errors import BundleError
from hnexport.parity.programs import program_tensors


@pytest.mark.parametrize("file_format", list(Format))
def test_every_format_gives_back_every_tensor(built: Built, file_format: Format, make_tensors: MakeTensors) -> None:
    manifest = dataclasses.replace(read_manifest(built.path), formats=(file_format,))
    expected = make_tensors(spec_of(manifest))
    restored = restore_tensors(
        built.path, manifest, lambda path: program_tensors(path, manifest, Trust(everything=True))
    )
    assert list(restored) == list(expected)
    for name, tensor in restored.items():
        assert torch.equal(tensor, expected[name]), name


def test_a_bundle_of_other_tables_is_refused(built: Built) -> None:
    manifest = built.manifest
    first, *others = manifest.stored
    unknown = dataclasses.replace(manifest, stored=(dataclasses.replace(first, name="hypernet.x.basis"), *others))
    with pytest.raises(BundleError, match=r"does not hold the tensor hypernet\.x\.basis"):
        restore_tensors(built.path, unknown)
    longer = dataclasses.replace(manifest, stored=(dataclasses.replace(first, shape=(1, *first.shape)), *others))
    with pytest.raises(BundleError, match=rf"{first.name} should be float32 \[1, "):
        restore_tensors(built.path, longer)


@pytest.mark.parametrize("file_format", [Format.TORCHSCRIPT, Format.PT2])
def test_a_program_is_not_loaded_unless_somebody_is_named_who_does_it(built: Built, file_format: Format) -> None:
    manifest = dataclasses.replace(read_manifest(built.path), formats=(file_format,))
    with pytest.raises(BundleError, match="holds no ONNX files"):
        restore_tensors(built.path, manifest)
