"""The main network, captured for every condition: what is computed once, and the tensors that differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hnexport.dotted import is_same, named_tensors
from hnexport.errors import SpecError
from hnexport.networks.hypnettorch.alike import all_members, check_alike, is_shared
from hnexport.networks.hypnettorch.live import Live
from hnexport.networks.hypnettorch.names import own_name, weight_names
from hnexport.networks.hypnettorch.network import MainNetwork, Probe, taking
from hnexport.networks.hypnettorch.recording import Recorded
from hnexport.networks.modules.inputs import Axes, Inputs, read_inputs
from hnexport.networks.modules.outputs import Outputs, read_outputs
from hnexport.networks.modules.refusals import check_program
from hnexport.networks.modules.tensors import dtype_name
from hnexport.networks.modules.traced import trace
from hnexport.networks.modules.trials import check_samples, check_sizes
from hnexport.networks.steps.reading import Read, read
from hnexport.spec import OutputSpec, Signature, Slot, StoredTensor, stored_as

__all__ = ["Network", "captured_network", "generated"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The main network.

    Attributes:
        weights: the slot of each generated weight, None for one that it does not use.
        stored: of the tensors that it keeps itself, such as statistics; `values` by their names.
    """

    module: nn.Module
    inputs: Inputs
    outputs: tuple[OutputSpec, ...]
    slots: tuple[Slot, ...]
    weights: tuple[str | None, ...]
    stored: tuple[StoredTensor, ...]
    values: Mapping[str, Tensor]


def captured_network(live: Live, example_inputs: object, axes: Axes | None, outputs: Outputs) -> Network:
    """Capture the main network for every condition.

    Raises:
        SpecError: it cannot be a function of its input and tensors alone, or differs between members in more than
            tensors.
        CaptureError: `torch.export` refuses it.
    """
    kind = taking(Probe, _input_name(example_inputs))
    weights = generated(live, 0)
    probe = kind(live, weights, 0).eval()
    inputs = read_inputs(probe, example_inputs, axes)
    _run(live, probe, inputs)
    program, _ = trace("mnet", probe, inputs)
    specs = read_outputs(program, inputs, outputs)
    Signature(inputs=inputs.specs, outputs=specs)  # its checks, before anything runs
    check_program(program)
    check_sizes(probe, program, inputs, specs)
    check_samples(probe, inputs, specs)
    first = read(probe, program)
    recorded = Recorded(first, probe, inputs.examples)
    reads = [first]
    for member, condition in enumerate(live.conditions[1:], start=1):
        same = next((n for n in range(member) if _is_one(live.conditions[n], condition)), None)
        if same is not None:
            reads.append(reads[same])
            continue
        other = kind(live, generated(live, member), member).eval()
        found = recorded.read(other)
        if found is None:
            _run_with(condition, other, inputs)
            found = read(other, trace("mnet", other, inputs)[0])
            check_alike(f"mnet with condition={condition!r}", first, found)
        reads.append(found)
    return _network(live, inputs, specs, weights, reads)


def _is_one(first: object, other: object) -> bool:
    """Whether two conditions are the same, whatever they are: what cannot be compared is captured too."""
    return first is other or (type(first) is type(other) and isinstance(first, int | str) and first == other)


def generated(live: Live, member: int) -> list[Tensor]:
    """What the hypernetwork gives for a member.

    Raises:
        SpecError: it fails, or these are no tensors.
    """
    try:
        with torch.no_grad():
            weights = live.generate(member)
    except Exception as error:
        hint = ""
        if live.uncond_input is None and "uncond" in str(error).lower():
            hint = (
                "; its unconditional input is given as uncond_input=, the same for all members, or in example_inputs, "
                "and is an input of the graph then"
            )
        raise SpecError(f"hnet.forward(cond_id={member}) fails: {_reason(error)}{hint}") from error
    if not all(isinstance(weight, Tensor) for weight in weights):
        raise SpecError(f"hnet.forward(cond_id={member}) returns {type(weights[0]).__name__}, expected tensors")
    return weights


def _run(live: Live, probe: nn.Module, inputs: Inputs) -> None:
    try:
        with torch.no_grad():
            probe(**inputs.examples)
    except Exception as error:
        (example,) = inputs.examples.values()
        time = ", the time as axis 1," if live.time_first else ""
        raise SpecError(
            f"mnet.forward fails with an input of shape {list(example.shape)}: {_reason(error)}"
            f"; give an example as it takes it{time} with the batch first, and, where it keeps "
            'weights of its own, what it gets: weights=lambda mnet, given: {"internal_weights": given}, or '
            "[*given, *mnet.internal_params[2:]]"
        ) from error


def _run_with(condition: object, probe: nn.Module, inputs: Inputs) -> None:
    try:
        with torch.no_grad():
            probe(**inputs.examples)
    except Exception as error:
        raise SpecError(
            f"mnet.forward fails with condition={condition!r}: {_reason(error)}; is there a set of batch-norm "
            "statistics (checkpoint_stats) for it?"
        ) from error


def _reason(error: Exception) -> str:
    """Of an error without a message, as hypnettorch's assertions are, its kind alone."""
    return f"{type(error).__name__}: {str(error)[:300]}".removesuffix(": ")


def _input_name(example_inputs: object) -> str:
    if isinstance(example_inputs, Tensor):
        return "x"
    if (
        isinstance(example_inputs, Mapping)
        and len(example_inputs) == 1
        and str(next(iter(example_inputs))).isidentifier()
    ):
        return str(next(iter(example_inputs)))
    raise SpecError(
        "example_inputs: hypnettorch's networks take one tensor; give it, or {name: tensor} to give it another name "
        "than x"
    )


def _network(
    live: Live, inputs: Inputs, outputs: tuple[OutputSpec, ...], weights: list[Tensor], reads: list[Read]
) -> Network:
    used = [name for name, _ in reads[0].tensors]
    names = weight_names(live.mnet.root, weights)
    kept = [name if f"weights.{number}" in used else None for number, name in enumerate(names)]
    slots = [
        Slot(name=name, dtype=dtype_name(f"the weight {name}", weight), shape=tuple(weight.shape))
        for name, weight in zip(kept, weights, strict=True)
        if name is not None
    ]
    tensors = {name: weight for name, weight in zip(kept, weights, strict=True) if name is not None}
    own: dict[str, str] = {}
    known = {f"main.{name}" for name in named_tensors(live.mnet)}
    stored, values = [], {}
    for number, (path, tensor) in enumerate(reads[0].tensors):
        if path.startswith("weights."):
            continue
        of_members = [found.tensors[number][1] for found in reads]
        if path not in known:  # a literal, or an attribute that is not registered
            if not all(is_same(tensor, other) for other in of_members):
                raise SpecError(
                    f"mnet computes with a tensor {path} that differs by condition, and is no parameter or buffer of "
                    "it: register it"
                )
            continue
        inner = path.removeprefix("main.")
        slot = Slot(
            name=own_name(inner, [*tensors, *own]),
            dtype=dtype_name(f"mnet: {inner}", tensor),
            shape=tuple(tensor.shape),
            trained=isinstance(tensor, nn.Parameter) and tensor.is_floating_point(),
        )
        item = stored_as(slot, len(reads), shared=is_shared(of_members))
        slots.append(slot)
        own[slot.name] = inner
        tensors[slot.name] = tensor.detach()
        stored.append(item)
        values[item.name] = all_members(item.name, of_members, shared=not item.is_conditional)
    module = taking(MainNetwork, next(iter(inputs.examples)))(live, kept, own, tensors, weights)
    return Network(
        module=module.eval(),
        inputs=inputs,
        outputs=outputs,
        slots=tuple(slots),
        weights=tuple(kept),
        stored=tuple(stored),
        values=values,
    )
