"""The one place through which text leaves the command: `say`, `tell`, `emit_json` and `prepare`.

- `say(text)` puts a sentence on standard output, `tell(text)` one on standard error. Both show it clean (no escape
  sequence of a file name or of an error reaches the terminal) and in characters that the terminal has.
- `emit_json(value)` puts JSON on standard output: whole, in ASCII, with null for what is not finite.
- `emit(text)` puts out what was laid out from clean text, with colours: for tables.
- `width()` is how wide tables may be: `COLUMNS`, else the terminal's width, else 120 where there is no terminal.

Standard output belongs to the answer: if it cannot be written, there is no answer, and `finish` says which exit code
that means. What a library prints goes to standard error, so that it cannot spoil JSON. Standard error only accompanies:
that it cannot be written never changes what a command does.
"""

import contextlib
import errno
import io
import json
import math
import os
import sys
import textwrap
from collections.abc import Mapping
from typing import IO, Any, TextIO, cast

from hnexport.cli.exit_codes import READER_GONE, UNANSWERED
from hnexport.text import READABLE, clean, degrade

__all__ = ["emit", "emit_json", "finish", "is_terminal", "output_failed", "prepare", "say", "shown", "tell", "width"]

WITHOUT_TERMINAL = 120
NARROWEST = 20


class _Remark(io.FileIO):
    """Standard error's descriptor: what cannot be written there is dropped."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


class _Answer:
    """Standard output as `prepare` found it, and what became of it."""

    stream: TextIO | None = None
    failure: OSError | None = None
    said = False
    """Whether there was anything to write."""

    def open(self) -> TextIO:
        """Where the answer goes; without `prepare`, wherever standard output is."""
        return self.stream or sys.stdout


_answer = _Answer()


def prepare() -> None:
    """Make standard output and standard error fit for anything; call it once, first of all.

    Descriptors that are closed are pointed at the null device, so that no file that a command opens becomes standard
    output for a library that prints.
    """
    closed = [descriptor for descriptor in (0, 1, 2) if _is_closed(descriptor)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if os.name == "posix":  # elsewhere a console is no file
        answer: TextIO = _text_stream(io.FileIO(1, "w", closefd=False), sys.stdout)
        sys.stderr = _text_stream(_Remark(2, "w", closefd=False), sys.stderr)
    else:
        answer = sys.stdout
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=READABLE)
    _answer.stream, sys.stdout = answer, sys.stderr
    _answer.failure = OSError(errno.EBADF, "it is closed") if 1 in closed else None


def say(text: str = "", *, wrap: bool = True) -> None:
    """Print a sentence on standard output; a terminal gets it in lines that end between words.

    Args:
        wrap: False for what is copied, such as a path.
    """
    line = shown(text)
    if wrap and is_terminal():
        line = textwrap.fill(line, width(), break_long_words=False, break_on_hyphens=False) if line else line
    emit(f"{line}\n")


def tell(text: str) -> None:
    """Print a message on standard error; it may have several lines, and what is wrong with that stream is ignored."""
    message = degrade(clean(text, newlines=True), sys.stderr.encoding)
    try:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    except OSError:
        pass


def shown(text: str) -> str:
    """The text as standard output will show it, on one line: what columns are measured by."""
    return degrade(clean(text), _answer.open().encoding)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return _answer.open().isatty()


def emit(text: str) -> None:
    """Write what was made from `shown` text, with line feeds and colours, as it is."""
    _answer.said = True
    if _answer.failure is not None:
        raise _answer.failure
    try:
        _answer.open().write(text)
        _answer.open().flush()
    except OSError as error:
        _answer.failure = error
        raise


def emit_json(value: Any) -> None:
    """Print a JSON value on standard output: ASCII, whatever the encoding, and null for what is not finite."""
    emit(json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def width() -> int:
    """How many columns a line may have."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and 0 < len(given) < 5 and int(given) > 0:
        return max(int(given), NARROWEST)
    try:
        columns = os.get_terminal_size(_answer.open().fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(columns or WITHOUT_TERMINAL, NARROWEST)


def output_failed() -> bool:
    """Whether something could not be written to standard output."""
    return _answer.failure is not None and _answer.said


def finish(code: int) -> int:
    """Flush both streams, and say what the exit code is after all.

    Returns:
        `code`; where standard output could not be written `READER_GONE` or `UNANSWERED`, unless a signal ended the
        command.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    if not output_failed() or _answer.failure is None:
        return code
    with open(os.devnull, "wb") as nowhere:  # what is still buffered must not fail again when the process ends
        os.dup2(nowhere.fileno(), 1)
    if code > 128:
        return code
    if _answer.failure.errno == errno.EPIPE:
        return READER_GONE
    tell(f"Error: standard output cannot be written: {_answer.failure.strerror}")
    return UNANSWERED


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def _text_stream(raw: io.FileIO, before: IO[str] | None) -> io.TextIOWrapper:
    """A text stream in the encoding that Python had chosen for the one before."""
    encoding = getattr(before, "encoding", None) or "utf-8"
    buffered = io.BufferedWriter(cast("io.RawIOBase", raw))
    return io.TextIOWrapper(buffered, encoding=encoding, errors=READABLE, line_buffering=raw.isatty())


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
