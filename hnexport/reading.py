"""Files that somebody else may have written: regular ones, of a stated size, and JSON that means one thing.

`Path.read_text` waits for ever on a FIFO and fills the memory from a device; `json.loads` overflows the stack on deep
brackets and takes NaN, a key twice and half a surrogate pair. What is read here does neither. Standard library only.
"""

import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from hnexport.errors import HnexportError

__all__ = [
    "MAX_DEPTH",
    "MissingFileError",
    "OpenError",
    "ReadError",
    "is_plain_name",
    "open_regular",
    "parse_json",
    "read_bytes",
    "read_json",
    "regular_size",
    "shown",
]

MAX_DEPTH = 64
"""How deep lists and objects may lie in each other: a specification has five levels."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows, with any suffix
_MAX_NAME_BYTES = 255  # of a file system's names


class ReadError(HnexportError, ValueError):
    """A file that cannot be read, or whose content is not what it has to be; the message says which, what and where."""


class OpenError(ReadError):
    """A file that cannot be opened.

    Attributes:
        reason: why, as it follows the name of the file in a sentence.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.reason = reason


class MissingFileError(OpenError):
    """There is no such file."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file, or a symlink to one, for reading; nothing else, and without waiting.

    Raises:
        MissingFileError: there is no such file.
        OpenError: it is a folder, a FIFO, a socket, a device or a loop of symlinks, or may not be read.
    """
    regular_size(path)  # opening a device may do something already
    with _opening(path):
        # A FIFO without a writer, should one have come there meanwhile, would block an ordinary open.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def regular_size(path: Path) -> int:
    """The size in bytes of a regular file, or of what a symlink leads to, without opening it.

    Raises:
        MissingFileError: there is no such file.
        OpenError: it is something else than a regular file.
    """
    with _opening(path):
        found = os.stat(path)
    _require_regular(path, found)
    return found.st_size


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """All bytes of a regular file of at most `limit_bytes`.

    Raises:
        MissingFileError: there is no such file.
        ReadError: it is not a regular file, is larger, or cannot be read.
    """
    with open_regular(path) as file:
        try:
            data = file.read(limit_bytes + 1)
        except OSError as error:
            raise ReadError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit_bytes:
        raise ReadError(f"{path} is larger than {limit_bytes} bytes, the most that is read of such a file")
    return data


def read_json(path: Path, limit_bytes: int) -> Any:
    """The value in a JSON file of at most `limit_bytes`; see `parse_json`.

    Raises:
        MissingFileError: there is no such file.
        ReadError: it is not a regular file, is larger, or is not such JSON.
    """
    return parse_json(read_bytes(path, limit_bytes), str(path))


def parse_json(data: bytes | str, where: str) -> Any:
    """The value of JSON in UTF-8 without a byte-order mark.

    Refused are NaN and Infinity, numbers that overflow a float64 or have thousands of digits, a key that stands twice
    in an object, halves of surrogate pairs, and nesting beyond `MAX_DEPTH`.

    Args:
        where: names the source in messages.

    Raises:
        ReadError: it is not such JSON.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)
    except RecursionError:
        raise ReadError(f"{where} is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError too, and int() of thousands of digits
        raise ReadError(f"{where} is not JSON: {str(error)[:200]}") from error
    _check_values(value, where)
    return value


def is_plain_name(name: str) -> bool:
    """Whether a text names a file in its own folder on every system: no path, no device, nothing invisible."""
    return (
        name not in ("", ".", "..")
        and name.isprintable()
        and not any(character in name for character in '/\\:*?"<>|')
        and not name.startswith(" ")
        and not name.endswith((" ", "."))
        and len(name.encode()) <= _MAX_NAME_BYTES
        and _DEVICE_NAMES.fullmatch(name) is None
    )


def shown(value: object, length: int = 80) -> str:
    """`repr` of a value for a message, cut to `length` characters; whatever the value is, this does not fail."""
    try:
        if isinstance(value, str | bytes | list | tuple):
            value = value[: length + 1]  # the repr of a large file's content would be as large
        text = repr(value)
    except Exception:  # an integer of thousands of digits; lists in lists; another library's `__repr__`
        return f"a value of type {type(value).__name__} that cannot be shown"
    return text if len(text) <= length else text[: length - 3] + "..."


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(path, "is missing") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise OpenError(path, f"cannot be opened: {reason}") from error


def _require_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "something else")
        raise OpenError(path, f"is {kind}, expected a regular file")


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number that JSON knows")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} stands twice in an object")
        found[key] = value
    return found


def _check_values(value: Any, where: str) -> None:
    """Look at every value, level by level: no recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        for item in level:
            _check_scalar(item, where)
        level = [inner for item in level for inner in _inner(item)]
        if not level:
            return
    raise ReadError(f"{where} is nested more than {MAX_DEPTH} levels deep")


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list) else ()


def _check_scalar(value: Any, where: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ReadError(f"{where} holds half a surrogate pair, in {shown(value)}: not a character") from None
    elif isinstance(value, float) and not math.isfinite(value):
        raise ReadError(f"{where} holds a number that no float64 can hold")
