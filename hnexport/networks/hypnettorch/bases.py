"""The bases of a captured hypernetwork: the last linear layers, found in its steps and written as products with bases.

A linear layer is the last one where nothing that it gives is multiplied by another stored tensor; what an assembly
function does with it (cut, join, scale, add) does not matter. Its weight is stored as `[last hidden, chunk]`, as bases
are everywhere, and cast where it is used to the dtype of what it is multiplied with: it may be stored in float16.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hnexport.networks.steps.written import OUTPUTS, STEP, STEPS, TENSOR, tensors_in

__all__ = ["Bases", "with_bases"]

_LINEAR = "aten.linear.default"
_PRODUCTS = (_LINEAR, "aten.matmul.default", "aten.mm.default")

Bases = Mapping[str, bool]
"""The tensors that are bases, and whether the hypernetwork itself has each the other way round, `[chunk, hidden]`."""


def with_bases(spec: Mapping[str, Any], fits: Callable[[str], bool]) -> tuple[dict[str, Any], Bases, frozenset[str]]:
    """The same steps with bases, which these are, and the tensors that are biases of their layers.

    Args:
        fits: whether a tensor can be a basis: it is a matrix, and all members share it.
    """
    steps = spec[STEPS]
    last = _last_products(steps)
    used = list(tensors_in(spec))
    bases: dict[str, bool] = {}
    for name in dict.fromkeys(_weight(steps[number]) for number in last):
        places = [number for number in last if _weight(steps[number]) == name]
        turned = {steps[number][0] == _LINEAR for number in places}
        if name is not None and fits(name) and len(places) == used.count(name) and len(turned) == 1:
            bases[name] = turned.pop()
    written: list[Any] = []
    moved: dict[int, int] = {}
    biases: set[str] = set()
    for number, (operator, given, named) in enumerate(steps):
        args = _moved(given, moved)
        if number in last and _weight(steps[number]) in bases:
            written.append(["aten.type_as.default", [args[1], args[0]], {}])
            written.append(["aten.matmul.default", [args[0], {STEP: len(written) - 1}], {}])
            if len(args) > 2 and args[2] is not None:
                written.append(["aten.add.Tensor", [{STEP: len(written) - 1}, args[2]], {}])
                biases |= {name for name in tensors_in(args[2]) if used.count(name) == 1}
        else:
            written.append([operator, args, _moved(named, moved)])
        moved[number] = len(written) - 1
    return {STEPS: written, OUTPUTS: _moved(spec[OUTPUTS], moved)}, bases, frozenset(biases)


def _last_products(steps: list[Any]) -> set[int]:
    """The products with a stored tensor, of which none goes into another."""
    products = {number for number, step in enumerate(steps) if _weight(step) is not None}
    inner: set[int] = set()
    for number in products:
        pending = list(_steps_in(steps[number][1]))
        seen: set[int] = set()
        while pending:
            before = pending.pop()
            if before not in seen:
                seen.add(before)
                pending.extend(_steps_in(steps[before][1:]))
        inner |= seen
    return products - inner


def _weight(step: Any) -> str | None:
    """The stored tensor that a step multiplies with."""
    operator, args, _ = step
    if operator not in _PRODUCTS or not isinstance(args[1], Mapping):
        return None
    return args[1].get(TENSOR)


def _steps_in(value: Any) -> list[int]:
    if isinstance(value, Mapping):
        return [value[STEP]] if set(value) == {STEP} else _steps_in(list(value.values()))
    return [number for item in value for number in _steps_in(item)] if isinstance(value, list) else []


def _moved(value: Any, moved: Mapping[int, int]) -> Any:
    if isinstance(value, Mapping):
        return {key: moved[item] if key == STEP else _moved(item, moved) for key, item in value.items()}
    return [_moved(item, moved) for item in value] if isinstance(value, list) else value
