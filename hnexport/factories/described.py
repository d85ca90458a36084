"""Inputs and outputs as a command line describes them.

`image=float32[batch,3,32,32]`, `tokens=int64[batch,time=16]:0..999`; `logits=logits`, `words=logits:2`, `mean`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hnexport.errors import SpecError
from hnexport.spec import BATCH
from hnexport.spec.kinds import Kind, Logits

__all__ = ["InputText", "examples", "read_input", "read_outputs"]

_INPUT = re.compile(r"(?P<name>[^=\s]+)=(?P<dtype>\w+)\[(?P<shape>[^\]]*)\](:(?P<least>-?\d+)\.\.(?P<most>-?\d+))?")
_EXAMPLE_SIZE = 8
"""Of an axis of any size of which nothing is said."""
_DTYPES = (
    *("float32", "float64", "float16", "bool", "int8", "uint8", "int16", "int32", "int64"),
    *("uint16", "uint32", "uint64"),
)


@dataclass(frozen=True, kw_only=True)
class InputText:
    """An input that was described.

    Attributes:
        shape: sizes of the example.
        axes: those of any size, `{axis: name}`.
        least, most: of integers, inclusive.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    axes: Mapping[int, str]
    least: int = 0
    most: int = 1

    def example(self, seed: int) -> Tensor:
        """Standard normal numbers, or integers of the range, its ends among them."""
        random, dtype = torch.Generator().manual_seed(seed), getattr(torch, self.dtype)
        if dtype.is_floating_point:
            return torch.randn(self.shape, generator=random).to(dtype)
        numbers = torch.randint(self.least, self.most + 1, self.shape, generator=random)
        if numbers.numel() > 1:  # what parity draws stays between the ends of the example
            numbers.view(-1)[0], numbers.view(-1)[-1] = self.least, self.most
        return numbers.to(dtype)


def read_input(text: str) -> InputText:
    """Read `NAME=DTYPE[SIZE,…]`, for integers with `:LEAST..MOST`; a size is a number, a name, or both: `time=16`.

    Raises:
        SpecError: it is written otherwise.
    """
    found = _INPUT.fullmatch(text.strip())
    if found is None:
        raise SpecError(
            f"--input {text}: expected NAME=DTYPE[SIZE,…], for instance image=float32[batch,3,32,32] or "
            "tokens=int64[batch,16]:0..999"
        )
    if found["dtype"] not in _DTYPES:
        raise SpecError(f"--input {text}: there is no dtype {found['dtype']}, only {', '.join(_DTYPES)}")
    shape, axes = [], {}
    for axis, part in enumerate(filter(None, (part.strip() for part in found["shape"].split(",")))):
        name, _, size = part.partition("=") if not part.isdigit() else ("", "", part)
        if (name and not name.isidentifier()) or (size and not size.isdigit()) or ("=" in part and not size):
            raise SpecError(f"--input {text}: a size is a number, a name, or both as in time=16, found {part}")
        if name:
            axes[axis] = name
        shape.append(int(size) if size else 2 if name == BATCH else _EXAMPLE_SIZE)
    least, most = int(found["least"] or 0), int(found["most"] or 1)
    if found["least"] and (found["dtype"].startswith("float") or least > most):
        raise SpecError(f"--input {text}: a range LEAST..MOST is for integers, the smaller number first")
    return InputText(name=found["name"], dtype=found["dtype"], shape=tuple(shape), axes=axes, least=least, most=most)


def examples(inputs: Sequence[InputText]) -> tuple[dict[str, Tensor], dict[str, Mapping[int, str]]]:
    """`example_inputs` and `dynamic_axes`.

    Raises:
        SpecError: one is described twice.
    """
    names = [item.name for item in inputs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"--input {twice}: described twice")
    return {item.name: item.example(number) for number, item in enumerate(inputs)}, {
        item.name: item.axes for item in inputs
    }


def read_outputs(texts: Sequence[str]) -> Mapping[str, Kind] | None:
    """Kinds by name, of `NAME`, `NAME=value`, `NAME=logits` or `NAME=logits:AXIS`; None where none is described.

    Raises:
        SpecError: it is written otherwise, or one is described twice.
    """
    found: dict[str, Kind] = {}
    for text in texts:
        name, _, kind = text.partition("=")
        word, _, axis = kind.partition(":")
        known = not kind or word == "logits" or kind == "value"
        if not name or not known or (axis and not re.fullmatch(r"-?\d+", axis)) or name in found:
            raise SpecError(f"--output {text}: expected each once as NAME, NAME=value, NAME=logits or NAME=logits:AXIS")
        found[name] = Logits(axis=int(axis) if axis else 1) if word == "logits" else "value"
    return found or None
