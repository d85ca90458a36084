"""Files that somebody else may have written are read with bounds, or refused with the reason."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnexport.reading import (
    MAX_DEPTH,
    MissingFileError,
    ReadError,
    is_plain_name,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    regular_size,
    shown,
)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


ODD = {
    "fifo": (make_fifo, "is a FIFO, expected a regular file"),
    "folder": (lambda path: path.mkdir(), "is a folder, expected a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, expected a regular file"),
    "loop": (lambda path: path.symlink_to(path.name), "cannot be opened: Too many levels"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("function", [open_regular, regular_size, lambda path: read_json(path, 100)])
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, name: str, function: Callable[..., Any]
) -> None:
    make, message = ODD[name]
    make(tmp_path / "x")
    with pytest.raises(ReadError, match=message):
        function(tmp_path / "x")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is at most 108 bytes long
    make_socket("x")
    for function in (regular_size, open_regular):
        with pytest.raises(ReadError, match="is a socket, expected a regular file"):
            function(tmp_path / "x")


@pytest.mark.parametrize("path", ["missing", "file/below", "nul\0"])
def test_a_file_that_is_not_there_is_an_error_of_its_own(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReadError if "\0" in path else MissingFileError):
        open_regular(tmp_path / path)


def test_a_symlink_stands_for_the_regular_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"[1]")
    (tmp_path / "link").symlink_to("store")
    assert read_json(tmp_path / "link", 3) == [1]


def test_a_file_of_the_limit_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ReadError, match="is larger than 4 bytes"):
        read_bytes(tmp_path / "x", 4)


WRONG = {
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, f"nested more than {MAX_DEPTH}"),
    "lists one too deep": (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), f"nested more than {MAX_DEPTH}"),
    "NaN": (b'{"a": NaN}', "NaN is not a number"),
    "infinity": (b"[-Infinity]", "-Infinity is not a number"),
    "overflow": (b"[1e999]", "a number that no float64 can hold"),
    "thousands of digits": (b"9" * 5000, "4300"),
    "a key twice": (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
    "half a pair": (rb'{"a": "\ud800"}', "half a surrogate pair"),
    "half a pair as a key": (rb'{"\udc00": 1}', "half a surrogate pair"),
    "byte-order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "not UTF-8": (b"\xff\xfe", "invalid start byte"),
    "nothing": (b"", "Expecting value"),
    "two values": (b"{} {}", "Extra data"),
}


@pytest.mark.parametrize("name", WRONG)
def test_json_that_means_more_than_one_thing_or_nothing_is_refused(name: str) -> None:
    data, message = WRONG[name]
    with pytest.raises(ReadError, match=f"^the file .*{message}"):
        parse_json(data, "the file")


def test_json_of_the_greatest_depth_is_read() -> None:
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert str(parse_json(text, "the text")) == text


@pytest.mark.parametrize(
    "name", ["model.onnx", "weights.bin", "Übersicht.html", "模型", ".gitattributes", "a b", "a..b"]
)
def test_the_name_of_a_file_is_plain(name: str) -> None:
    assert is_plain_name(name)


REFUSED = ("\ud800", "NUL", "con.txt", "a.", " a", "a ", "a" * 256, "é" * 128, "a*")  # by Windows, or too long


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "../a",
        "/a",
        "a\\b",
        "C:a",
        "a\0",
        "a\n",
        "\x1b[2J",
        "a\x85",
        "a\u202eb",
        *REFUSED,
    ],
)
def test_what_leads_elsewhere_or_hides_something_is_no_plain_name(name: str) -> None:
    assert not is_plain_name(name)


@pytest.mark.parametrize("value", [10**5000, "a" * 10**6, ["a"] * 10**6, {"a": 10**5000}, "\ud800"], ids=range(5))
def test_any_value_can_be_shown_in_a_message(value: Any) -> None:
    assert len(shown(value)) <= 80
    shown(value).encode()
