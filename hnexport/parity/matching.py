"""Which input or output of somebody's file is which of the bundle's: by name, else by the only dtype and shape."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hnexport.names import COND_IDS
from hnexport.parity.signature import (
    Declared,
    GraphSignature,
    SignatureError,
    check_input,
    check_output,
    fits_input,
    fits_output,
    logits_output,
)
from hnexport.spec import OutputSpec, TensorSpec

__all__ = ["MatchedInputs", "match_inputs", "match_member_inputs", "match_outputs", "match_summaries"]

Spec = TypeVar("Spec", bound=TensorSpec)
_ID_TYPES = ("int64", "int32")


@dataclass(frozen=True, kw_only=True)
class MatchedInputs:
    """A file's inputs.

    Attributes:
        cond_id: None of a file that is one member by itself.
        inputs: those of the network, in the order of the bundle's signature.
    """

    cond_id: Declared | None
    inputs: tuple[Declared, ...]


def match_inputs(path: Path | str, found: Sequence[Declared], signature: GraphSignature) -> MatchedInputs:
    """Match the inputs that a file declares with the condition id and the network's inputs.

    Raises:
        SignatureError: they cannot be told, or the bundle's samples cannot be given to them.
    """
    wanted = signature.inputs[1:]

    def fits(item: Declared, spec: TensorSpec) -> bool:
        return fits_input(item, spec, signature.sizes)

    cond_id = _cond_id(found, signature, fits)
    rest = [item for item in found if item is not cond_id]
    matched = _assigned(rest, wanted, fits)
    if cond_id is None or len(rest) != len(wanted) or len(matched) < len(wanted):
        raise SignatureError(_refusal(path, found, signature, cond_id, matched))
    for spec in wanted:
        check_input(path, matched[spec.name], spec, signature)
    return MatchedInputs(cond_id=cond_id, inputs=tuple(matched[spec.name] for spec in wanted))


def match_member_inputs(path: Path | str, found: Sequence[Declared], signature: GraphSignature) -> MatchedInputs:
    """Match the inputs of a file that is one member by itself: the network's alone, without a condition id.

    Raises:
        SignatureError: they cannot be told, or the bundle's samples cannot be given to them.
    """
    wanted = signature.inputs[1:]
    matched = _assigned(found, wanted, lambda item, spec: fits_input(item, spec, signature.sizes))
    if len(found) != len(wanted) or len(matched) < len(wanted):
        raise SignatureError(
            f"{path}: expected a member's inputs {', '.join(map(_told, wanted))}, found "
            f"{', '.join(map(str, found)) or 'none'}"
        )
    for spec in wanted:
        check_input(path, matched[spec.name], spec, signature)
    return MatchedInputs(cond_id=None, inputs=tuple(matched[spec.name] for spec in wanted))


def match_outputs(
    path: Path | str, found: Sequence[Declared], signature: GraphSignature, *, ordered: bool = False
) -> tuple[int, ...]:
    """For each output of the bundle's signature the position among those of a file.

    Args:
        ordered: the file's outputs have no names of their own: where there are as many as the bundle's, they are
            taken in order.

    Raises:
        SignatureError: they cannot be told, or are not the bundle's.
    """
    wanted = signature.outputs
    names = [item.name for item in found]
    if len(wanted) == 1:
        positions: tuple[int, ...] = (logits_output(path, names, wanted[0].name),)
    elif ordered and len(found) == len(wanted):
        positions = tuple(range(len(wanted)))
    else:
        matched = _assigned(found, wanted, lambda item, spec: fits_output(item, spec, signature.sizes))
        if len(matched) < len(wanted):
            told, listed = ", ".join(map(str, found)) or "none", ", ".join(map(_told, wanted))
            raise SignatureError(
                f"{path} has the outputs {told}, expected {listed}: give them these names, or export these alone"
            )
        positions = tuple(names.index(matched[spec.name].name) for spec in wanted)
    for position, spec in zip(positions, wanted, strict=True):
        check_output(path, found[position], spec, signature.sizes)
    return positions


def match_summaries(found: Sequence[Declared], signature: GraphSignature) -> tuple[int, ...] | None:
    """The positions of what `ensemble.onnx` returns: by name, else by order where the numbers of axes agree.

    Returns:
        In the order of `hnexport.spec.summaries`; None where a file does not answer as an ensemble does.
    """
    wanted, names = signature.summaries, [item.name for item in found]
    if {item.name for item in wanted} <= set(names):
        return tuple(names.index(item.name) for item in wanted)
    ranks = [None if item.shape is None else len(item.shape) for item in found]
    return tuple(range(len(wanted))) if ranks == [len(item.shape) for item in wanted] else None


def _cond_id(
    found: Sequence[Declared], signature: GraphSignature, fits: Callable[[Declared, TensorSpec], bool]
) -> Declared | None:
    """The integer scalar (or `[1]`, or `[member]`) that is called so, or is none of the network's inputs."""
    able = [item for item in found if item.dtype in (None, *_ID_TYPES) and len(item.shape or ()) <= 1]
    called = [item for item in able if item.name in (signature.inputs[0].name, COND_IDS)]
    own = {spec.name: spec for spec in signature.inputs[1:]}
    unnamed = [item for item in able if item.name not in own]
    unfit = [item for item in unnamed if not any(fits(item, spec) for spec in own.values())]
    return next((some[0] for some in (called, unnamed, unfit) if len(some) == 1), None)


def _assigned(
    found: Sequence[Declared], wanted: Sequence[Spec], fits: Callable[[Declared, Spec], bool]
) -> dict[str, Declared]:
    """By name; then whatever fits one alone; then the last two that are left, which are checked afterwards."""
    left, open_specs = {item.name: item for item in found}, {spec.name: spec for spec in wanted}
    matched: dict[str, Declared] = {}

    def take(name: str, item: Declared) -> None:
        matched[name] = left.pop(item.name)
        del open_specs[name]

    for name in [name for name in open_specs if name in left]:
        take(name, left[name])
    while True:
        fitting = {name: [item for item in left.values() if fits(item, spec)] for name, spec in open_specs.items()}
        single = next((name for name, items in fitting.items() if len(items) == 1), None)
        if single is None:
            break
        take(single, fitting[single][0])
    if len(left) == len(open_specs) == 1:
        (item,), (spec,) = left.values(), open_specs.values()
        if item.shape is None or len(item.shape) == len(spec.shape):
            take(spec.name, item)
    return matched


def _refusal(
    path: Path | str,
    found: Sequence[Declared],
    signature: GraphSignature,
    cond_id: Declared | None,
    matched: Mapping[str, Declared],
) -> str:
    reason = ""
    if cond_id is None:
        reason = "; the condition id seems baked in"
        if len(matched) == len(found) == len(signature.inputs) - 1:
            reason += "; a member's own file is judged by `hnexport verify FILE --bundle BUNDLE --members 3`"
    elif len(matched) == len(signature.inputs) - 1:
        known = {cond_id.name, *(item.name for item in matched.values())}
        more = [item.name for item in found if item.name not in known]
        reason = f"; give {', '.join(more)} a value inside the file, as initializers"
    elif len(found) == len(signature.inputs):
        reason = "; they cannot be told apart: give them these names"
    told = ", ".join(map(str, found)) or "none"
    return f"{path}: expected the inputs {', '.join(map(_told, signature.inputs))}, found {told}{reason}"


def _told(spec: TensorSpec | OutputSpec) -> str:
    return f"{spec.name} ({spec.dtype} {list(spec.shape)})"
