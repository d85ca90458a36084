"""What is right of samples: class numbers of logits, numbers of a value."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown
from hnexport.spec import BATCH, OutputSpec, TensorSpec
from hnexport.spelling import spelled

__all__ = ["CLASS_NUMBERS", "TARGETS", "ReadOptions", "check_targets", "named_targets", "renumbered", "target_spec"]

TARGETS = ("label", "labels", "target", "targets", "y")
"""What arrays and columns with what is right are called."""
CLASS_NUMBERS = re.compile(r"[0-9]{1,9}")
"""How a folder is called that says the number of its class."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How data are read.

    Attributes:
        pictures: what `hnexport.images.read_images` is told of pictures; without a normalisation, that of the bundle.
        class_names: in the order of the classes; empty takes those that the bundle says.
        target: the array or column with what is right, where it is called otherwise than `TARGETS`.
    """

    pictures: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    target: str | None = None


def target_spec(name: str, output: OutputSpec) -> TensorSpec:
    """The targets of an output as a tensor: its axes without that of the classes."""
    row = [size for axis, size in enumerate(output.shape) if axis not in (0, output.axis)]
    return TensorSpec(name=name, dtype="float64" if output.axis is None else "int64", shape=(BATCH, *row))


def check_targets(targets: NDArray[Any], samples: int, output: OutputSpec, place: str) -> None:
    """Refuse targets that cannot be right.

    Raises:
        RuntimeInputError: they are not as many as the samples, name a class that does not exist or are not finite.
    """
    if len(targets) != samples:
        raise RuntimeInputError(f"{place}: expected a target for each of {samples} samples, found {len(targets)}")
    if output.axis is None:
        if not np.isfinite(targets).all():
            raise RuntimeInputError(f"{place}: a target is not finite, which nothing can be measured by")
        return
    classes = output.shape[output.axis]
    lowest, highest = int(targets.min()), int(targets.max())
    if lowest < 0 or (isinstance(classes, int) and highest >= classes):
        wrong = lowest if lowest < 0 else highest
        raise RuntimeInputError(f"{place}: {output.name} has {classes} classes from 0, a sample is of class {wrong}")


def named_targets(said: NDArray[Any], names: Sequence[str], subject: str) -> NDArray[np.int64]:
    """The numbers of classes that are said by name, text of any shape.

    Raises:
        RuntimeInputError: a name is none of the classes.
    """
    numbers = {name: number for number, name in enumerate(names)}
    try:
        found, places = np.unique(said, return_inverse=True)
        words = [str(word) for word in found]
    except ValueError as error:
        raise RuntimeInputError(f"{subject} holds text that is damaged: {error}") from error
    unknown = next((word for word in words if word not in numbers), None)
    if unknown is not None:
        raise RuntimeInputError(f"{subject} names the class {shown(unknown)}, which is none of {_listed(names)}")
    return np.array([numbers[word] for word in words], np.int64)[places].reshape(said.shape)


def renumbered(
    targets: NDArray[np.int64], declared: Sequence[str], names: Sequence[str], subject: str
) -> tuple[NDArray[np.int64], str]:
    """The numbers that the network's classes have, of targets in a file that says its own names; and a word about it.

    Where the file's names are the network's in another order, or some of them, the names decide. Where it has none of
    them, its numbers are taken.

    Raises:
        RuntimeInputError: some names are the network's, and one that a sample has is not.
    """
    if not declared or not names or tuple(declared) == tuple(names):
        return targets, ""
    if not set(declared) & set(names):
        return targets, "numbers of the file, whose names are others than the network's"
    used = np.unique(targets)
    if used.size and not 0 <= used[0] <= used[-1] < len(declared):
        raise RuntimeInputError(f"{subject} has a sample of class {used[-1]}, and names {len(declared)} classes")
    wrong = next((declared[one] for one in used if declared[one] not in names), None)
    if wrong is not None:
        raise RuntimeInputError(f"{subject} names the class {shown(wrong)}, which is none of {_listed(names)}")
    own = np.array([names.index(name) if name in names else -1 for name in declared], np.int64)
    return own[targets], "by name: the file numbers them otherwise than the network"


def _listed(names: Sequence[str]) -> str:
    remedy = f"name the classes in their order with {spelled('class_names=(…)', '--labels FILE')}"
    return f"{', '.join(names[:8]) or 'none that are known'}{', …' if len(names) > 8 else ''}: {remedy}"
