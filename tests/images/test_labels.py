"""The names of the classes, as editors on any system write them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from special_files import make_pipe

from hnexport.errors import RuntimeInputError
from hnexport.images import read_labels

READ = {
    "plain": b"cat\ndog\nzebra crossing\n",
    "no last line end": b"cat\ndog\nzebra crossing",
    "Windows": b"cat\r\ndog\r\nzebra crossing\r\n",
    "old Mac": b"cat\rdog\rzebra crossing\r",
    "a byte order mark": b"\xef\xbb\xbfcat\ndog\nzebra crossing\n",
    "blank lines": b"\ncat\n \ndog\t\n\n zebra crossing\n\n",
}


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
def test_labels_are_one_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    assert read_labels(tmp_path / "labels.txt", 3) == ("cat", "dog", "zebra crossing")


def test_what_other_systems_take_for_line_ends_stays_in_a_label(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\u2028b\nc\x0cd\ne\x85f\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt", 3) == ("a\u2028b", "c\x0cd", "e\x85f")


def test_classes_of_one_name_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("crane\nowl\ncrane\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt", 3) == ("crane (0)", "owl", "crane (2)")


BAD = {
    "too few": (b"cat\n", "expected 3 labels, one a line, found 1"),
    "too many": (b"a\nb\nc\nd\n", "expected 3 labels, one a line, found 4"),
    "none": (b"", "expected 3 labels, one a line, found 0"),
    "Latin-1": (b"chat\nf\xeate\nz\xe8bre\n", "it is not UTF-8 .*save it as UTF-8"),
    "UTF-16": ("a\nb\nc\n".encode("utf-16"), "it is not UTF-8 .*save it as UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(RuntimeInputError, match=f"labels.txt.*{message}"):
        read_labels(tmp_path / "labels.txt", 3)


@pytest.mark.parametrize("make", [make_pipe, os.mkdir, lambda path: None], ids=["named pipe", "folder", "missing"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[..., Any]) -> None:
    make(tmp_path / "labels.txt")
    with pytest.raises(RuntimeInputError, match="labels.txt cannot be read as labels"):
        read_labels(tmp_path / "labels.txt", 3)
