"""Text as it may be shown: nothing hidden, nothing that steers a terminal, nothing that its encoding lacks.

Names, origins, labels, file names and errors come from files that others made. `clean` makes what is invisible visible
(an escape sequence, an override of the direction of writing), and `degrade` finds readable substitutes for characters
that an encoding lacks. `hnexport.cli.output` applies both to all that is printed, and `report.html` the first.
"""

import codecs
import re

__all__ = ["READABLE", "clean", "degrade", "megabytes", "number_of", "shorten"]

READABLE = "hnexport-readable"
"""The name of the codec error handler that substitutes what an encoding lacks."""

# Control characters, lone surrogates, line and paragraph separators, and everything that has no width of its own or
# changes the direction of writing (Unicode's Default_Ignorable_Code_Point and the other format characters).
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\xa0": " "}
_SUBSTITUTES = {
    "…": "...",
    "Δ": "difference",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "±": "+-",
    "•": "*",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MICRO SIGN}": "u",
    "\N{GREEK SMALL LETTER MU}": "u",
    **dict.fromkeys("\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}\N{NON-BREAKING HYPHEN}─━╸╺", "-"),
    **dict.fromkeys("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}", "'"),
    **dict.fromkeys(
        "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}", '"'
    ),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┡┩╇┳┻╋", "+"),
}


def clean(text: str, *, newlines: bool = False) -> str:
    r"""Make every hidden character visible as an escape such as `\x1b` or `\u202e`.

    Args:
        newlines: keep line feeds. The lines after the first are then indented, so that none can pose as a line of ours.
    """
    if not newlines:
        return _HIDDEN.sub(_escape, text)
    return "\n  ".join(_HIDDEN.sub(_escape, line) for line in text.split("\n"))


def shorten(words: object, length: int = 300) -> str:
    """What a library says, which may quote all of a file, in one line of `length` characters at most."""
    text = " ".join(str(words).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def number_of(count: int, noun: str) -> str:
    """`1 member`, `3 members`, `0 members`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def megabytes(size_bytes: float) -> str:
    """`150.6 MB`; what would be less than `0.1 MB`, `13.5 kB`."""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e5 or not size_bytes else f"{size_bytes / 1e3:,.1f} kB"


def degrade(text: str, encoding: str | None) -> str:
    """The text with readable substitutes for what an encoding lacks: `...` for an ellipsis, else an escape."""
    known = encoding or "utf-8"
    return text.encode(known, READABLE).decode(known)


def _escape(match: re.Match[str]) -> str:
    return _NAMED.get(match[0]) or _code(match[0])


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """A codec error handler: never fails, and gives ASCII alone."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SUBSTITUTES.get(character) or _code(character) for character in lacking), error.end


codecs.register_error(READABLE, _substitute)
