"""A captured hypernetwork as data: operators of PyTorch over stored tensors. Standard library only.

`{"steps": [[operator, arguments, named arguments], …], "outputs": {slot: value}}`. A value is a number, text, a list of
values, or an object of one key: `{"tensor": name}` a stored tensor (of the member, where it has one for each),
`{"step": n}` what an earlier step gave, `{"dtype": name}`, `{"number": "inf"}`. A tensor whose name starts with
`input/` is no stored one but the condition id, or a condition by its name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hnexport.errors import BundleError
from hnexport.reading import shown

__all__ = ["DTYPE", "INPUT", "NUMBER", "OUTPUTS", "STEP", "STEPS", "TENSOR", "check_steps", "tensors_in", "with_names"]

STEPS, OUTPUTS = "steps", "outputs"
TENSOR, STEP, DTYPE, NUMBER = "tensor", "step", "dtype", "number"
INPUT = "input/"
_KEYS = {TENSOR: str, STEP: int, DTYPE: str, NUMBER: str}
_OPERATOR = re.compile(r"(aten\.\w+\.\w+|getitem)")
_MOST_STEPS = 100_000


def check_steps(spec: Mapping[str, Any]) -> None:
    """Check that steps are steps: each is one operator over earlier ones. What they compute is checked when they run.

    Raises:
        BundleError: they are not.
    """
    where = "$.source.spec"
    _require(set(spec) == {STEPS, OUTPUTS}, f"{where}: expected {STEPS} and {OUTPUTS}, found {shown(sorted(spec))}")
    steps, outputs = spec[STEPS], spec[OUTPUTS]
    _require(isinstance(steps, list | tuple), f"{where}.{STEPS}: expected a list, found {shown(steps)}")
    _require(isinstance(outputs, Mapping), f"{where}.{OUTPUTS}: expected an object, found {shown(outputs)}")
    _require(len(steps) <= _MOST_STEPS, f"{where}.{STEPS}: {len(steps)} of them, at most {_MOST_STEPS} are read")
    for number, step in enumerate(steps):
        path = f"{where}.{STEPS}[{number}]"
        _require(
            isinstance(step, list | tuple)
            and len(step) == 3
            and isinstance(step[0], str)
            and isinstance(step[1], list | tuple)
            and isinstance(step[2], Mapping),
            f"{path}: expected [operator, arguments, named arguments], found {shown(step)}",
        )
        _require(_OPERATOR.fullmatch(step[0]) is not None, f"{path}: {shown(step[0])} is no operator of PyTorch's")
        for value in (*step[1], *step[2].values()):
            _check_value(value, number, path)
    for slot, value in outputs.items():
        path = f"{where}.{OUTPUTS}[{shown(slot)}]"
        _require(isinstance(value, Mapping) and set(value) <= {STEP, TENSOR}, f"{path}: expected a tensor")
        _check_value(value, len(steps), path)


def tensors_in(value: Any) -> Iterator[str]:
    """The names of the stored tensors that a value uses, or steps and outputs, in order."""
    if isinstance(value, Mapping) and set(value) == {TENSOR}:
        yield value[TENSOR]
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def _check_value(value: Any, steps: int, path: str) -> None:
    """`steps`: how many came before."""
    if isinstance(value, list | tuple):
        for item in value:
            _check_value(item, steps, path)
    elif isinstance(value, Mapping):
        key, held = next(iter(value.items()), (None, None))
        _require(
            len(value) == 1 and key in _KEYS and type(held) is _KEYS[str(key)], f"{path}: {shown(value)} is no value"
        )
        _require(key != STEP or 0 <= int(str(held)) < steps, f"{path}: {shown(value)} does not come before it")
    else:
        _require(value is None or isinstance(value, str | int | float), f"{path}: {shown(value)} is no value")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BundleError(message)


def with_names(value: Any, names: Mapping[str, str]) -> Any:
    """The same steps over tensors of other names; those that are not among the names keep theirs."""
    if isinstance(value, Mapping):
        if set(value) == {TENSOR}:
            return {TENSOR: names.get(value[TENSOR], value[TENSOR])}
        return {key: with_names(item, names) for key, item in value.items()}
    return [with_names(item, names) for item in value] if isinstance(value, list) else value
