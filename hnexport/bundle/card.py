"""A bundle's `README.md`, its model card: whether it is as hnexport made it, or whether somebody completed it.

The card lies outside the manifest, and so outside the digest: people edit it where they publish a model. Its last line
carries the SHA-256 of what stands above: a card that still fits it was not touched, any other has to be kept.
"""

import hashlib
import re
from pathlib import Path

from hnexport.reading import ReadError, read_bytes

__all__ = ["is_as_made", "with_mark"]

_MARK = re.compile(r"<!-- made by hnexport, sha256:([0-9a-f]{64}) -->\n?\Z")
_MOST_BYTES = 2**25


def with_mark(text: str) -> str:
    """A card with its last line; `text` ends with a line feed."""
    return f"{text}<!-- made by hnexport, sha256:{_digest(text)} -->\n"


def is_as_made(path: Path) -> bool:
    r"""Whether a file is a card that hnexport made and nobody changed; line ends may have become `\r\n` on the way."""
    try:
        text = read_bytes(path, _MOST_BYTES).decode("utf-8")
    except (ReadError, UnicodeDecodeError):
        return False
    text = text.replace("\r\n", "\n")
    found = _MARK.search(text)
    return found is not None and found[1] == _digest(text[: found.start()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
