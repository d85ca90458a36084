"""Where two members differ in more than their tensors."""

from collections.abc import Mapping
from itertools import zip_longest

from torch import Tensor

from hnexport.dotted import is_same
from hnexport.networks.modules.traced import Step, Traced

__all__ = ["first_difference", "tensor_difference", "tying_difference"]

_NONE = Step(text="nothing", where="its forward")


def first_difference(first: Traced, other: Traced) -> str | None:
    """What is computed otherwise, and in which module; None where the graphs are one."""
    for one, two in zip_longest(first.steps, other.steps, fillvalue=_NONE):
        if one.text != two.text:
            step = one if two is _NONE else two
            return f"in {step.where}: `{_short(two.text)}`, there `{_short(one.text)}`"
    for name, tensor in first.constants.items():
        if not is_same(tensor, other.constants[name]):
            what = "a tensor that forward makes" if "lifted_tensor" in name else f"the plain tensor attribute {name}"
            return (
                f"{what} has other values: register it as a buffer (`register_buffer`), then members may differ in it"
            )
    return None


def tying_difference(first: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """A tensor that is tied to another in one of two members only; see `members.owners`."""
    for name in first.keys() & other.keys():
        if first[name] != other[name]:
            tied, here = (first[name], False) if first[name] != name else (other[name], True)
            return f"{name} is tied to {tied} {'in it, and not there' if here else 'there, and not in it'}"
    return None


def tensor_difference(first: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    """A tensor that is missing in a member, or has another shape or dtype there."""
    for name, tensor in first.items():
        if name not in other:
            return f"it has no tensor {name}"
        found, expected = (f"{str(each.dtype)[6:]} {list(each.shape)}" for each in (other[name], tensor))
        if found != expected:
            return f"{name} is {found}, there {expected}"
    return None


def _short(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:157]}..."
