"""The one place through which text leaves the command: `say`, `tell`, `emit_json` and `prepare`.

- `say(text)` puts a sentence on standard output, `tell(text)` one on standard error. Both show it clean (no escape
  sequence of a file name or of an error reaches the terminal) and in characters that the terminal has.
- `emit_json(value)` puts JSON on standard output: whole, in ASCII, with null for what is not finite.
- `emit(text)` puts out what was laid out from clean text, with colours: for tables.
- `width()` is how wide tables may be: `COLUMNS`, else the terminal's width, else 120 where there is no terminal.

Standard output and an answer belong together: if it cannot be written, there is no answer. `prepare` puts a stream
there that remembers the failure, whoever wrote, and `finish` says which exit code it means. Standard error only
accompanies: that it cannot be written never changes what a command does.
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
from typing import IO, Any, cast

from hnexport.cli.exit_codes import READER_GONE, UNANSWERED
from hnexport.cli.text import READABLE, clean, degrade

__all__ = ["emit", "emit_json", "finish", "output_failed", "prepare", "say", "shown", "tell", "width"]

WITHOUT_TERMINAL = 120
NARROWEST = 20


class _Answer(io.FileIO):
    """Standard output's descriptor, which remembers the first failure to write."""

    failure: OSError | None = None
    closed_before = False
    """Whether whoever started the command had closed it."""

    def write(self, data: Any, /) -> int:
        try:
            if self.closed_before:
                raise OSError(errno.EBADF, "it is closed")
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise


class _Remark(io.FileIO):
    """Standard error's descriptor: what cannot be written there is dropped."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


_answer: _Answer | None = None


def prepare() -> None:
    """Make standard output and standard error fit for anything; call it once, first of all.

    Descriptors that are closed are pointed at the null device, so that no file that a command opens becomes standard
    output for a library that prints.
    """
    global _answer  # noqa: PLW0603 - the process has one standard output
    closed = {descriptor for descriptor in (0, 1, 2) if _is_closed(descriptor)}
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if os.name != "posix":  # elsewhere a console is no file
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=READABLE)
        return
    _answer = _Answer(1, "w", closefd=False)
    _answer.closed_before = 1 in closed
    sys.stdout = _text_stream(_answer, sys.stdout)
    sys.stderr = _text_stream(_Remark(2, "w", closefd=False), sys.stderr)


def say(text: str = "", *, wrap: bool = True) -> None:
    """Print a sentence on standard output; a terminal gets it in lines that end between words.

    Args:
        wrap: False for what is copied, such as a path.
    """
    line = shown(text)
    if wrap and sys.stdout.isatty():
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
    """The text as standard output will show it, on one line: what a layout has to measure."""
    return degrade(clean(text), sys.stdout.encoding)


def emit(text: str) -> None:
    """Write what was made from `shown` text, with line feeds and colours, as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def emit_json(value: Any) -> None:
    """Print a JSON value on standard output: ASCII, whatever the encoding, and null for what is not finite."""
    emit(json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def width() -> int:
    """How many columns a line may have."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and 0 < len(given) < 5 and int(given) > 0:
        return max(int(given), NARROWEST)
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(columns or WITHOUT_TERMINAL, NARROWEST)


def output_failed() -> bool:
    """Whether something could not be written to standard output."""
    return _answer is not None and _answer.failure is not None


def finish(code: int) -> int:
    """Flush both streams, and say what the exit code is after all.

    Returns:
        `code`; where standard output could not be written `READER_GONE` or `UNANSWERED`, unless a signal ended the
        command.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the descriptor has remembered it
            stream.flush()
    if _answer is None or _answer.failure is None:
        return code
    failure, _answer.closed_before = _answer.failure, False
    with open(os.devnull, "wb") as nowhere:  # what is still buffered must not fail again when the process ends
        os.dup2(nowhere.fileno(), 1)
    if code > 128:
        return code
    if failure.errno == errno.EPIPE:
        return READER_GONE
    tell(f"Error: standard output cannot be written: {failure.strerror}")
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
