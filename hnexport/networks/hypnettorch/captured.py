"""Both halves of a live pair, captured for every member: what is computed once, and the tensors that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from hnexport.dotted import is_same
from hnexport.errors import CaptureError, SpecError
from hnexport.networks.hypnettorch.live import Live
from hnexport.networks.hypnettorch.names import hypernet_names, own_name, weight_names
from hnexport.networks.hypnettorch.network import MainNetwork, Probe, taking
from hnexport.networks.hypnettorch.reading import Read, difference, read, recipe_of
from hnexport.networks.hypnettorch.steps import OUTPUTS, STEPS, TENSOR, tensors_in
from hnexport.networks.modules.inputs import Axes, Inputs, read_inputs
from hnexport.networks.modules.members import check_finite
from hnexport.networks.modules.outputs import Outputs, read_outputs
from hnexport.networks.modules.refusals import check_program
from hnexport.networks.modules.tensors import dtype_name
from hnexport.networks.modules.traced import trace
from hnexport.networks.modules.trials import check_samples, check_sizes
from hnexport.spec import OutputSpec, Signature, Slot, StoredKind, StoredTensor, stored_as
from hnexport.tracing import exported

__all__ = ["Hypernetwork", "Network", "captured_hypernetwork", "captured_network"]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Hypernetwork:
    """The hypernetwork: its tensors, and its steps as data."""

    stored: tuple[StoredTensor, ...]
    values: Mapping[str, Tensor]
    spec: Mapping[str, Any]


class _Hypernetwork(nn.Module):
    """A hypernetwork as it is captured for one member: no inputs, a tuple of weights."""

    def __init__(self, live: Live, member: int) -> None:
        super().__init__()
        self.hnet = live.hnet
        self._live = (live, member)

    def forward(self) -> tuple[Tensor, ...]:
        live, member = self._live
        return tuple(live.generate(member))


def captured_network(live: Live, example_inputs: object, axes: Axes | None, outputs: Outputs) -> Network:
    """Capture the main network for every condition.

    Raises:
        SpecError: it cannot be a function of its input and tensors alone, or differs between members in more than
            tensors.
        CaptureError: `torch.export` refuses it.
    """
    weights = [_generated(live, member) for member in range(len(live.conditions))]
    kind = taking(Probe, _input_name(example_inputs))
    probes = [kind(live, given, member).eval() for member, given in enumerate(weights)]
    inputs = read_inputs(probes[0], example_inputs, axes)
    _run(live, probes[0], inputs)
    program, _ = trace("mnet", probes[0], inputs)
    specs = read_outputs(program, inputs, outputs)
    Signature(inputs=inputs.specs, outputs=specs)  # its checks, before anything runs
    check_program(program)
    check_sizes(probes[0], program, inputs, specs)
    check_samples(probes[0], inputs, specs)
    first = read(probes[0], program)
    reads = [first]
    for member, probe in enumerate(probes[1:], start=1):
        same = next((n for n in range(member) if live.conditions[n] == live.conditions[member]), None)
        reads.append(reads[same] if same is not None else read(probe, trace("mnet", probe, inputs)[0]))
        _check_alike(f"mnet with condition={live.conditions[member]!r}", first, reads[-1])
    return _network(live, inputs, specs, weights[0], reads)


def captured_hypernetwork(live: Live, slots: Sequence[str | None]) -> Hypernetwork:
    """Capture the hypernetwork for every member.

    Args:
        slots: of each weight that it gives, in order.

    Raises:
        SpecError: members differ in more than tensors, or it is random, or normalises over a batch.
        CaptureError: `torch.export` refuses it, or it uses an operator that no bundle can hold.
    """
    modules = [_Hypernetwork(live, member).eval() for member in range(len(live.conditions))]
    program = _program(modules[0])
    check_program(program)
    first = read(modules[0], program)
    reads = [first]
    for member, module in enumerate(modules[1:], start=1):
        reads.append(read(module, _program(module)))
        _check_alike(f"hnet with cond_id={member}", first, reads[-1])
    kept = [number for number, slot in enumerate(slots) if slot is not None]
    try:
        recipe = recipe_of(modules[0], program, first, kept)
    except CaptureError:  # an operator that is written otherwise among PyTorch's core ones
        recipe = recipe_of(modules[0], program.run_decompositions(), first, kept)
    outputs = {str(slots[number]): value for number, value in zip(kept, recipe.outputs, strict=True)}
    spec = {STEPS: recipe.steps, OUTPUTS: outputs}
    return _hypernetwork(live, spec, reads)


def _program(module: nn.Module) -> ExportedProgram:
    try:
        with torch.no_grad():
            return exported(module, (), {}, None)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise CaptureError(f"torch.export cannot capture hnet: {reason[0][:400] if reason else error!r}") from error


def _generated(live: Live, member: int) -> list[Tensor]:
    try:
        with torch.no_grad():
            weights = live.generate(member)
    except Exception as error:
        hint = ""
        if live.uncond_input is None and "uncond" in str(error).lower():
            hint = "; its unconditional input is given as uncond_input=, the same for all members"
        raise SpecError(
            f"hnet.forward(cond_id={member}) fails: {type(error).__name__}: {str(error)[:300]}{hint}"
        ) from error
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
            f"mnet.forward fails with an input of shape {list(example.shape)}: {type(error).__name__}: "
            f"{str(error)[:300]}; give an example as it takes it{time} with the batch first, and weights that it has"
        ) from error


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


def _check_alike(where: str, first: Read, other: Read) -> None:
    found = difference(first, other)
    if found is not None:
        raise SpecError(f"{where} computes something else than member 0, there can be one graph only: {found}")


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
    stored, values = [], {}
    for number, (path, tensor) in enumerate(reads[0].tensors):
        if path.startswith("weights."):
            continue
        of_members = [found.tensors[number][1] for found in reads]
        if not path.startswith("main."):  # a literal in the graph
            if not all(is_same(tensor, other) for other in of_members):
                raise SpecError(f"mnet computes with a tensor {path} that is none of its own, and differs by condition")
            continue
        inner = path.removeprefix("main.")
        slot = Slot(
            name=own_name(inner, [*tensors, *own]),
            dtype=dtype_name(f"mnet: {inner}", tensor),
            shape=tuple(tensor.shape),
            trained=isinstance(tensor, nn.Parameter) and tensor.is_floating_point(),
        )
        item = stored_as(slot, len(reads), shared=_is_shared(of_members))
        slots.append(slot)
        own[slot.name] = inner
        tensors[slot.name] = tensor.detach()
        stored.append(item)
        values[item.name] = _value(item, of_members)
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


def _hypernetwork(live: Live, spec: dict[str, Any], reads: list[Read]) -> Hypernetwork:
    """Name the tensors, and store those that are weights as they are by their slots."""
    used = list(tensors_in(spec))
    direct = {value[TENSOR]: slot for slot, value in spec[OUTPUTS].items() if TENSOR in value}
    direct = {number: slot for number, slot in direct.items() if used.count(number) == 1}
    names = hypernet_names(live.hnet.root)
    renamed: dict[str, str] = {}
    stored, values = [], {}
    for number in dict.fromkeys(used):
        path, tensor = reads[0].tensors[int(number)]
        of_members = [found.tensors[int(number)][1] for found in reads]
        shared, trained = _is_shared(of_members), isinstance(tensor, nn.Parameter) and tensor.is_floating_point()
        dtype, shape = dtype_name(f"hnet: {path}", tensor), tuple(tensor.shape)
        if number in direct:
            slot = Slot(name=direct[number], dtype=dtype, shape=shape, trained=trained)
            item = stored_as(slot, len(reads), shared=shared)
        else:
            hypernet, name = names(path, tensor)
            kind = StoredKind.HIDDEN if tensor.dim() > 1 else StoredKind.HIDDEN_BIAS
            item = StoredTensor(
                name=name,
                dtype=dtype,
                shape=shape if shared else (len(reads), *shape),
                kind=kind if shared else StoredKind.EMBEDDING,
                hypernet=hypernet,
                trained=trained,
            )
            renamed[number] = item.name
        stored.append(item)
        values[item.name] = _value(item, of_members)
    outputs = {slot: value for slot, value in spec[OUTPUTS].items() if slot not in direct.values()}
    return Hypernetwork(
        stored=tuple(stored), values=values, spec=_renamed({STEPS: spec[STEPS], OUTPUTS: outputs}, renamed)
    )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {TENSOR}:
            return {TENSOR: names[value[TENSOR]]}
        return {key: _renamed(item, names) for key, item in value.items()}
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def _is_shared(of_members: Sequence[Tensor]) -> bool:
    """One tensor for all members: the same object, or what is no parameter and equal."""
    first = of_members[0]
    return all(
        other is first or (not isinstance(first, nn.Parameter) and is_same(first, other)) for other in of_members[1:]
    )


def _value(item: StoredTensor, of_members: Sequence[Tensor]) -> Tensor:
    tensors = [tensor.detach() for tensor in of_members]
    check_finite("hnet and mnet", ((item.name, tensor) for tensor in tensors))
    return torch.stack(tensors) if item.is_conditional else tensors[0].clone().contiguous()
