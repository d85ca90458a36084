"""Failing cases come back as written, over nothing but an earlier case; damaged ones are refused."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from thorough import first

from hnexport.errors import ParityError
from hnexport.parity.cases import Case, read_case, write_case

CASE = Case(
    bundle="b",
    artifact="onnx",
    runtime="onnxruntime",
    member=1,
    inputs={"image": np.ones((2, 3, 4, 4), np.float32), "ids": np.ones((2, 3), np.int64)},
    reference={"logits": np.ones((2, 5)), "winner": np.ones(2, np.int64)},
    found={"logits": np.full((2, 5), np.nan, np.float32), "winner": np.ones(2, np.int64)},
    eager={"logits": np.full(2, 1e-7)},
    noise={"logits": np.full(2, 1e-8), "winner": np.zeros(2)},
)


def edit_facts(path: Path, edit: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_a_case_comes_back_equal(tmp_path: Path) -> None:
    found = read_case(write_case(tmp_path, CASE))
    for field in dataclasses.fields(Case):
        np.testing.assert_equal(getattr(found, field.name), getattr(CASE, field.name))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WRONG: dict[str, Callable[[Path], object]] = {
    "a fact too many": lambda path: edit_facts(path, lambda facts: facts.update(images=[1])),
    "a fact too few": lambda path: edit_facts(path, lambda facts: facts.pop("member")),
    "a fact of another type": lambda path: edit_facts(path, lambda facts: facts.update(member="1")),
    "a list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "no JSON": lambda path: path.write_bytes(b"\xff"),
    "fifo": fifo,
    "fifo of tensors": lambda path: fifo(path.with_suffix(".safetensors")),
    "no tensors": lambda path: path.with_suffix(".safetensors").unlink(),
    "truncated tensors": lambda path: os.truncate(path.with_suffix(".safetensors"), 100),
    "other tensors": lambda path: save_file({"x": np.zeros(1)}, path.with_suffix(".safetensors")),
    "other shapes": lambda path: save_file(
        {
            "inputs.image": CASE.inputs["image"],
            "reference.logits": CASE.reference["logits"][:1],
            "found.logits": CASE.found["logits"],
            "noise.logits": CASE.noise["logits"],
        },
        path.with_suffix(".safetensors"),
    ),
}


@pytest.mark.parametrize("name", first(4, WRONG))
def test_a_damaged_case_is_refused(tmp_path: Path, name: str) -> None:
    path = write_case(tmp_path, CASE)
    WRONG[name](path)
    with pytest.raises(ParityError, match="failing case"):
        read_case(path)


def test_a_case_of_hnexport_0_1_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_case(tmp_path, CASE)
    edit_facts(path, lambda facts: facts.update(eager_error=1e-7))
    with pytest.raises(ParityError, match="hnexport 0.1 wrote: make it again with save_failures="):
        read_case(path)


def test_a_case_is_written_over_an_earlier_one(tmp_path: Path) -> None:
    path = write_case(tmp_path / "cases", CASE)
    write_case(tmp_path / "cases", dataclasses.replace(CASE, found={**CASE.found, "logits": np.full((2, 5), 2.0)}))
    assert read_case(path).found["logits"].tolist() == [[2.0] * 5] * 2
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
def test_what_is_no_case_stays(tmp_path: Path, name: str, make: Callable[..., Any]) -> None:
    make(tmp_path / name)
    before = (tmp_path / name).lstat()
    with pytest.raises(ParityError, match="is not a failing case"):
        write_case(tmp_path, CASE)
    assert (tmp_path / name).lstat().st_ino == before.st_ino
    assert [file.name for file in tmp_path.iterdir()] == [name]
