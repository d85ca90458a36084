"""Samples of another size stand beside the others in golden.safetensors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from shared import Built, built_list

from hnexport.bundle import read_golden
from hnexport.bundle.golden import Golden, write_golden
from hnexport.errors import BundleError
from hnexport.parity.open_axes import shortened


@pytest.fixture
def listed() -> Built:
    return built_list("scorer")


@pytest.fixture
def golden(listed: Built) -> Golden:
    """With one member's reference of shorter texts; the numbers do not matter here."""
    whole = read_golden(listed.path)
    inputs = shortened(listed.manifest.signature, whole.inputs)
    assert inputs is not None
    some = {name: array[:1] for name, array in whole.outputs.items()}
    rows = {name: array[:1] for name, array in whole.eager.items()}
    resized = Golden(inputs=inputs, kinds=whole.kinds, members=whole.members[:1], outputs=some, eager=rows, noise=rows)
    return dataclasses.replace(whole, resized=resized)


def test_they_are_read_as_they_were_written(golden: Golden, listed: Built, tmp_path: Path) -> None:
    write_golden(tmp_path, golden)
    found = read_golden(tmp_path, listed.manifest).resized
    assert found is not None
    assert found.kinds == golden.kinds
    count, time = golden.inputs["tokens"].shape
    assert found.inputs["tokens"].shape == (count, time - 1)
    np.testing.assert_array_equal(found.inputs["tokens"], golden.inputs["tokens"][:, :-1])


def test_a_member_that_does_not_exist_is_refused_in_them_too(golden: Golden, listed: Built, tmp_path: Path) -> None:
    assert golden.resized is not None
    wrong = dataclasses.replace(golden.resized, members=np.array([99]))
    write_golden(tmp_path, dataclasses.replace(golden, resized=wrong))
    with pytest.raises(BundleError, match="expected different members of 0 to 2"):
        read_golden(tmp_path, listed.manifest)
