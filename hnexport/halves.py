"""What both halves of an ensemble need, whatever family it is of: guards, named tensors, float64."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hnexport.dotted import OverTensors, named_tensors
from hnexport.errors import RuntimeInputError
from hnexport.spec import Signature

__all__ = [
    "MakesBases",
    "RearrangedInFiles",
    "as_in_onnx_files",
    "check_named",
    "conditions_of",
    "guarded",
    "in_double",
    "output_leaves",
]


def in_double(generator: nn.Module) -> nn.Module:
    """Over float64 copies of the floating tensors, without a second copy of the others; bases of integers are made."""
    made = generator.made_bases() if isinstance(generator, MakesBases) else {}
    tensors = {name: made.get(name, tensor) for name, tensor in named_tensors(generator).items()}
    return OverTensors(
        generator, {n: tensor.double() if tensor.is_floating_point() else tensor for n, tensor in tensors.items()}
    )


@runtime_checkable
class MakesBases(Protocol):
    """A generator that stores bases as integers, and takes floating-point ones in their place too."""

    def made_bases(self) -> Mapping[str, Tensor]:
        """These bases by name, as floating-point numbers."""
        ...


@runtime_checkable
class RearrangedInFiles(Protocol):
    """A generator whose stored tensors lie in the ONNX files in another way, which is cheaper to compute with."""

    def rearranged(self) -> nn.Module:
        """The same generator over tensors as the files hold them, under the same names."""
        ...


def as_in_onnx_files(generator: nn.Module) -> nn.Module:
    """The generator whose tensors are those of the ONNX files: itself, unless it is a `RearrangedInFiles`."""
    return generator.rearranged() if isinstance(generator, RearrangedInFiles) else generator


def guarded(output: Tensor, guard: Tensor) -> Tensor:
    """`output + guard`, where it is floating-point."""
    if not output.is_floating_point():
        return output
    return output + guard.to(output.dtype).reshape((1,) if output.dim() else ())


def output_leaves(raw: Any) -> list[Tensor]:
    """The tensors in what a network returns, in the exporters' order: a tensor, or any nesting of tuples and dicts."""
    return [leaf for leaf in pytree.tree_leaves(raw) if leaf is not None]


def check_named(who: str, names: Sequence[str], inputs: object) -> None:
    """Check that inputs are tensors by exactly these names.

    Raises:
        RuntimeInputError: they are not; `who` takes them.
    """
    if not isinstance(inputs, Mapping):
        expected = ", ".join(f"{name!r}: …" for name in names)
        raise RuntimeInputError(f"{who} takes its inputs by name, {{{expected}}}, found a {type(inputs).__name__}")
    if set(inputs) != set(names):
        raise RuntimeInputError(f"{who} takes {', '.join(names)}, found {', '.join(inputs) or 'none'}")
    wrong = next((name for name, value in inputs.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        what = type(inputs[wrong]).__name__
        raise RuntimeInputError(f"the input {wrong} is of type {what}, no tensor: give torch.as_tensor({wrong})")


def conditions_of(who: str, signature: Signature, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The conditions among the inputs.

    Raises:
        RuntimeInputError: one is missing, of which `who` makes its weights.
    """
    missing = next((name for name in signature.conditions if name not in inputs), None)
    if missing is not None:
        raise RuntimeInputError(f"{who} makes its weights of {missing}: give it, {{{missing!r}: …}}")
    return {name: inputs[name] for name in signature.conditions}
