"""A reader that writes `member.bin` by the manifest alone gets the member's numbers, or the bundle is refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared import Built, built_list

from hnexport.bundle import read_manifest
from hnexport.bundle.supplied import check_supplied
from hnexport.errors import BundleError
from hnexport.parity import VerifyOptions, verify

STORED = Path(__file__).parents[1] / "data" / "bundle-v1"


@pytest.mark.parametrize("name", ["cnn", "reader", "regressor"])
def test_a_bundle_of_modules_is_supplied_in_the_order_that_its_manifest_says(name: str) -> None:
    folder = built_list(name).path
    check_supplied(folder, read_manifest(folder))


def test_bundles_of_every_version_are_supplied_in_the_order_that_their_manifests_say(built: Built) -> None:
    check_supplied(built.path, built.manifest)
    check_supplied(STORED, read_manifest(STORED))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda names: names[::-1], "at byte 0 of member.bin with .* since", id="another order"),
        pytest.param(lambda names: names[1:], "supplied and the graph differ in 'input.weight'", id="one left out"),
        pytest.param(lambda names: (*names, "norm.bias"), "the graph differ in 'norm.bias'", id="one too many"),
        pytest.param(lambda names: (), "supplied and the graph differ", id="none"),
    ],
)
def test_another_list_of_supplied_tensors_is_refused(built: Built, change: Callable[[Any], Any], message: str) -> None:
    assert built.manifest.onnx is not None
    onnx = dataclasses.replace(built.manifest.onnx, supplied=tuple(change(built.manifest.onnx.supplied)))
    with pytest.raises(BundleError, match=rf"network\.onnx: .*{message}"):
        check_supplied(built.path, dataclasses.replace(built.manifest, onnx=onnx))


def test_verify_refuses_a_bundle_whose_manifest_lists_supplied_tensors_in_another_order(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    first, second = read_manifest(bundle).onnx.supplied[:2]
    head, _, tail = text.partition('"supplied"')
    swapped = (
        tail.replace(f'"{first}"', '"?"', 1).replace(f'"{second}"', f'"{first}"', 1).replace('"?"', f'"{second}"', 1)
    )
    (bundle / "manifest.json").write_text(f'{head}"supplied"{swapped}')
    with pytest.raises(BundleError, match=r"\$\.onnx\.supplied has it there"):
        verify(bundle, VerifyOptions(members=[0]))
