"""Failing cases as files: written whole, and over nothing but an earlier case."""

import dataclasses
import os

import numpy as np
import pytest

from hnexport.errors import ParityError
from hnexport.parity.cases import Case, read_case, write_case

CASE = Case(
    bundle="b",
    artifact="onnx",
    runtime="onnxruntime",
    member=1,
    eager_error=1e-7,
    images=np.zeros((1, 3, 2, 2), np.float32),
    reference=np.zeros((1, 4)),
    found=np.ones((1, 4), np.float32),
)


def test_a_case_is_written_over_an_earlier_one(tmp_path):
    path = write_case(tmp_path / "cases", CASE)
    write_case(tmp_path / "cases", dataclasses.replace(CASE, found=np.full((1, 4), 2, np.float32)))
    assert read_case(path).found.tolist() == [[2.0] * 4]
    assert sorted(file.name for file in path.parent.iterdir()) == ["onnx-member-1.json", "onnx-member-1.safetensors"]


@pytest.mark.parametrize("name", ["onnx-member-1.json", "onnx-member-1.safetensors"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text('{"thesis": "hnexport-parity-case"}'),
        lambda path: path.touch(),
        lambda path: path.mkdir(),
        os.mkfifo,
    ],
    ids=["a file", "an empty file", "a folder", "a pipe"],
)
def test_what_is_no_case_stays(tmp_path, name, make):
    make(tmp_path / name)
    before = (tmp_path / name).lstat()
    with pytest.raises(ParityError, match="is not a failing case"):
        write_case(tmp_path, CASE)
    assert (tmp_path / name).lstat().st_ino == before.st_ino
    assert [file.name for file in tmp_path.iterdir()] == [name]
