"""The names of the classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hnexport.errors import RuntimeInputError
from hnexport.images.files import open_file
from hnexport.spelling import spelled

__all__ = ["distinct", "read_labels"]

MOST_BYTES = 2**24


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """The names of the classes, one a line, in UTF-8; empty lines are left out.

    A name that stands there several times (ImageNet has two cranes) gets the number of its class: `crane (134)`.

    Raises:
        RuntimeInputError: the file cannot be read, or does not have `classes` lines.
    """
    with open_file(path, "labels") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RuntimeInputError(f"{path} cannot be read as labels: it has more than {MOST_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RuntimeInputError(
            f"{path} cannot be read as labels: it is not UTF-8 ({error}); save it as UTF-8"
        ) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    labels = [line.strip() for line in lines if line.strip()]
    if len(labels) != classes:
        raise RuntimeInputError(
            f"{path}: expected {classes} labels, one a line, found {len(labels)}: name every class in its order, or "
            f"leave {spelled('labels', '--labels')} out"
        )
    return distinct(labels)


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names of classes in their order, those that stand there several times with the number of their class."""
    counts = Counter(names)
    return tuple(f"{name} ({number})" if counts[name] > 1 else name for number, name in enumerate(names))
