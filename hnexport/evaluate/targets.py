"""What is right of samples: class numbers of logits, numbers of a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.spec import BATCH, OutputSpec, TensorSpec

__all__ = ["CLASS_NUMBERS", "TARGETS", "ReadOptions", "check_targets", "target_spec"]

TARGETS = ("label", "labels", "target", "targets", "y")
"""What arrays and columns with what is right are called."""
CLASS_NUMBERS = re.compile(r"[0-9]{1,9}")
"""How a folder is called that says the number of its class."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How data are read.

    Attributes:
        pictures: what `hnexport.images.read_images` is told of pictures.
        class_names: in the order of the classes, where somebody named them.
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
