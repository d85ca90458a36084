"""Ensembles of any kind for tests: of Wide ResNets, and of lists of small modules with nothing in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hnexport.dotted import is_same, named_tensors
from hnexport.ensemble import Ensemble
from hnexport.networks.modules.members import owners
from hnexport.networks.modules.stacked import Stacked
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.spec import BATCH, OutputKind, OutputSpec, Signature, Slot, StoredTensor, TensorSpec, stored_as
from hnexport.spec.source import EnsembleSource

_Module = TypeVar("_Module", bound=nn.Module)


def of_pipeline(pipeline: Pipeline) -> Ensemble:
    return wide_resnet_ensemble(pipeline.spec, pipeline.tensors(), "a test")


def stacked(modules: Sequence[nn.Module], slots: Sequence[Slot]) -> tuple[tuple[StoredTensor, ...], Stacked]:
    """What is stored, and the generator over it: what is equal bit for bit is stored once."""
    members, tensors = [named_tensors(module) for module in modules], {}
    stored = []
    for slot in (slot for slot in slots if slot.alias_of is None):
        each = [member[slot.name].detach() for member in members]
        shared = all(is_same(each[0], other) for other in each[1:])
        stored.append(stored_as(slot, len(members), shared=shared))
        tensors[stored[-1].name] = each[0] if shared else torch.stack(each)
    return tuple(stored), Stacked(tuple(stored), len(members), tensors).eval()


def of_modules(
    modules: Sequence[nn.Module],
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    *,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    logits: Mapping[str, int] | None = None,
    unused: Sequence[str] = (),
) -> Ensemble:
    """Several modules of one architecture. All inputs have a batch axis unless `dynamic` says otherwise.

    Args:
        logits: outputs that are logits, with their axis.
        unused: buffers that are no slots.
    """
    dynamic = dynamic if dynamic is not None else {name: {0: BATCH} for name in inputs}
    slots = tuple(slot for slot in slots_of(modules[0]) if slot.name not in unused)
    stored, generator = stacked(modules, slots)
    return Ensemble(
        name="a-list",
        origin="a test",
        members=len(modules),
        signature=_signature(modules[0], inputs, outputs, dynamic, logits or {}),
        slots=slots,
        stored=stored,
        generator=generator,
        network=modules[0],
        examples=dict(inputs),
        dynamic=dynamic,
        source=EnsembleSource(family="modules"),
    )


def slots_of(module: nn.Module) -> tuple[Slot, ...]:
    tensors = named_tensors(module)
    return tuple(
        Slot(
            name=name,
            dtype=_dtype(tensors[name]),
            shape=tuple(tensors[name].shape),
            trained=isinstance(tensors[name], nn.Parameter),
            alias_of=None if owner == name else owner,
        )
        for name, owner in owners(module).items()
        if not name.endswith("num_batches_tracked")
    )


def _signature(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    logits: Mapping[str, int],
) -> Signature:
    sizes = {inputs[name].shape[axis]: dim for name, axes in dynamic.items() for axis, dim in axes.items()}
    with torch.no_grad():
        leaves = [leaf for leaf in pytree.tree_leaves(module(**inputs)) if leaf is not None]
    specs = []
    for name, tensor in zip(outputs, leaves, strict=True):
        shape = tuple(sizes.get(size, size) if axis == 0 else size for axis, size in enumerate(tensor.shape))
        kind = OutputKind.LOGITS if name in logits else OutputKind.VALUE
        specs.append(OutputSpec(name=name, dtype=_dtype(tensor), shape=shape, kind=kind, axis=logits.get(name)))
    return Signature(
        inputs=tuple(
            TensorSpec(
                name=name,
                dtype=_dtype(tensor),
                shape=tuple(dynamic.get(name, {}).get(axis, size) for axis, size in enumerate(tensor.shape)),
            )
            for name, tensor in inputs.items()
        ),
        outputs=tuple(specs),
    )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def seeded(make: Callable[[], _Module], members: int) -> list[_Module]:
    """Modules in evaluation mode, each with random parameters and statistics of its own."""
    made = []
    for seed in range(members):
        torch.manual_seed(seed)
        module, random = make().eval(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                    assert part.running_var is not None
                    part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=random) * 0.1)
                    part.running_var.copy_(torch.rand(part.running_var.shape, generator=random) + 0.5)
                    part.weight.copy_(torch.rand(part.weight.shape, generator=random) + 0.5)
        made.append(module)
    return made
