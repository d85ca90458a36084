"""What a capture has to agree with: the ensemble's own names, slots, signature and stored tensors."""

from collections import Counter
from collections.abc import Sequence

from torch.export import ExportedProgram

from hnexport.ensemble import Ensemble
from hnexport.errors import CaptureError
from hnexport.names import COND_ID, COND_IDS, GENERATOR_PREFIX
from hnexport.spec.summaries import summaries

__all__ = ["check_captured", "check_mode", "check_names", "check_used"]


def check_names(ensemble: Ensemble) -> None:
    """Inputs, outputs and slots share the names of one graph, and so have to differ from each other.

    Raises:
        CaptureError: a name stands twice, or a floating-point input or output has a dtype that numpy lacks.
    """
    signature = ensemble.signature
    named = {
        "the condition id": (COND_ID, COND_IDS),
        "an input": tuple(item.name for item in signature.inputs),
        "an output": tuple(item.name for item in signature.outputs),
        "an output of ensemble.onnx": tuple(item.name for item in summaries(signature)),
        "a slot": tuple(slot.name for slot in ensemble.slots),
        "a stored tensor": tuple(stored.name for stored in ensemble.stored),
    }
    counts = Counter(name for names in named.values() for name in names)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        owners = [what for what, names in named.items() for name in names if name == twice]
        raise CaptureError(f"{ensemble.name}: {twice!r} is the name of {' and of '.join(owners)}: rename one of them")
    for item in (*signature.inputs, *signature.outputs):
        if item.dtype == "bfloat16":
            raise CaptureError(
                f"{ensemble.name}: {item.name} is bfloat16, which numpy lacks: cast it to float32 in the network"
            )


def check_mode(ensemble: Ensemble) -> None:
    """A network that was put back into training mode after the ensemble was made is another one.

    Raises:
        CaptureError: it is in training mode, or a part of it.
    """
    training = next(((path, part) for path, part in ensemble.network.named_modules() if part.training), None)
    if training is not None:
        path, part = training
        raise CaptureError(
            f"the network of {ensemble.name} is in training mode{f' at {path}' if path else ''} "
            f"({type(part).__name__}): call eval() on it, and train it on when the bundle is built"
        )


def check_used(program: ExportedProgram, conditions: Sequence[str] = ()) -> None:
    """See that a program depends on its condition id, the first input, and on the conditions, which follow it.

    Raises:
        CaptureError: it does not.
    """
    given = program.graph_signature.user_inputs[: 1 + len(conditions)]
    for name, found in zip((COND_ID, *conditions), given, strict=True):
        if not any(node.name == found and node.users for node in program.graph.nodes):
            raise CaptureError(f"the captured graph does not use {name}: it was baked in")


def check_captured(ensemble: Ensemble, program: ExportedProgram) -> None:
    """Compare the joint program with the ensemble.

    Raises:
        CaptureError: the condition id is not used, or the tensors are others (in name or dtype).
    """
    inputs = (COND_ID, *(item.name for item in ensemble.signature.inputs))
    found = tuple(program.graph_signature.user_inputs)
    if found != inputs:
        raise CaptureError(f"expected the inputs {', '.join(inputs)}, captured {list(found)}")
    check_used(program, ensemble.signature.conditions)
    expected = {GENERATOR_PREFIX + stored.name: stored.dtype for stored in ensemble.stored}
    held = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in program.state_dict.items()}
    held |= {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in program.constants.items()
        if name in expected  # buffers outside the state dict
    }
    if held.keys() != expected.keys():
        different = sorted(held.keys() ^ expected.keys())
        raise CaptureError(f"the captured graph holds other tensors than the ensemble: {different[:3]}")
    wrong = [name for name in expected if held[name] != expected[name]]
    if wrong:
        raise CaptureError(f"the captured graph holds {wrong[0]} in {held[wrong[0]]}, not in {expected[wrong[0]]}")
