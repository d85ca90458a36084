"""Import of a late-phase state dict: one state dict in, a checkpoint out."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.checkpoints.conversion import float32, note_conversion
from hnexport.networks.wide_resnet.checkpoints.late_phase.banks import Orders, Rows, orders_of, reordered
from hnexport.networks.wide_resnet.checkpoints.late_phase.kernels import HEAD, averaged, plain, scaled
from hnexport.networks.wide_resnet.checkpoints.late_phase.layers import COUNTER, Layer, layers_of
from hnexport.networks.wide_resnet.checkpoints.late_phase.network import check_layers, infer_network, layer_names
from hnexport.networks.wide_resnet.checkpoints.late_phase.released import check_released
from hnexport.networks.wide_resnet.checkpoints.late_phase.state import read_late_phase
from hnexport.networks.wide_resnet.checkpoints.listing import kind_of
from hnexport.networks.wide_resnet.checkpoints.one_set import warn_of_one_set
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.spec import RECIPES, ImageSpec, PipelineSpec, Recipe, WideResNetSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import Chunking, HypernetSpec, Source, StoredKind
from hnexport.spec.assumed import Assumed
from hnexport.spec.usage import Usage

__all__ = ["import_late_phase", "load_late_phase"]


def load_late_phase(
    path: str | os.PathLike[str],
    *,
    prefix: str | None = None,
    average_members: bool = False,
    image: ImageSpec | None = None,
) -> Checkpoint:
    """Read a file with a state dict of the late-phase code.

    Args:
        prefix: what stands in front of the network's tensor names, where the file holds several (`swa_model`).
        average_members: see `import_late_phase`.
        image: see `import_late_phase`.

    Raises:
        CheckpointError: the file cannot be read, holds no such network or several, or see `import_late_phase`.
    """
    found = read_late_phase(path, prefix)
    try:
        return import_late_phase(
            found.state,
            temperature=found.temperature,
            average_members=average_members,
            image=image,
            origin=found.origin,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def import_late_phase(
    state: Mapping[str, Tensor],
    *,
    temperature: float = 1.0,
    average_members: bool = False,
    image: ImageSpec | None = None,
    origin: str = "a late-phase state dict",
) -> Checkpoint:
    """Turn the state dict of a `HyperWRN` into a checkpoint.

    What is one for all members is shared, what each has belongs to members; kernels that are sums of a bank's templates
    with coefficients of each member are generated, in halves as that code has them, and those with one set of
    coefficients are summed up. Its 1x1 shortcuts are preactivated.

    Args:
        temperature: what logits are divided by, a `VirtualEnsemble`'s `T`.
        average_members: make one member that computes what that code does with `average_specialists` set: the affine
            maps of the members' batch norms, their output layers and their kernels are averaged.
        image: the size of the images, which leaves no trace; None is 32x32, the only size that code has.

    Raises:
        CheckpointError: the members were not released; or a tensor is missing, unknown, of an unexpected shape or
            dtype, not finite; or layers contradict each other; or `temperature` is not positive.
    """
    if not isinstance(state, Mapping):
        raise CheckpointError(f"expected a state dict, tensors by name, found {kind_of(state)}")
    if not 0.0 < temperature < math.inf:
        raise CheckpointError(f"temperature: expected a positive number, found {temperature}")
    layers = layers_of(state)
    network = infer_network(layers, image)
    check_layers(network, layers)
    check_released(layers.values())
    members = _members(layers)
    if temperature != 1.0:
        layers[HEAD] = scaled(layers[HEAD], 1.0 / temperature)
    if average_members:
        layers, members = {name: averaged(layer) for name, layer in layers.items()}, 1
    ours = {module: layers[name] for module, name in layer_names(network).items()}
    note_conversion(origin, (tensor for name, tensor in state.items() if not name.endswith(COUNTER)))
    made = _made(_spec(network, ours, members), ours)
    order = [stored.name for stored in stored_tensors(made.spec)]
    found = Checkpoint(
        spec=made.spec,
        tensors={name: made.tensors[name] for name in order},
        origin=f"{origin}, members averaged" if average_members else origin,
        usage=Usage(assumed=(*([Assumed.IMAGE_SIZE] if image is None else []), Assumed.NORMALISATION)),
    )
    warn_of_one_set(origin, found, "without batchnorm in hard_sharing")
    return found


@dataclass(frozen=True, kw_only=True)
class _Made:
    spec: PipelineSpec
    tensors: Mapping[str, Tensor]


def _members(layers: Mapping[str, Layer]) -> int:
    """How many there are: layers that all members share have one of each tensor."""
    counts = {len(layer.members): layer for layer in layers.values()}
    several = sorted(count for count in counts if count > 1)
    if len(several) > 1:
        first, second = (counts[count] for count in several[:2])
        raise CheckpointError(f"layer {first.name!r} has {several[0]} members, layer {second.name!r} {several[1]}")
    return several[0] if several else 1


def _spec(network: WideResNetSpec, layers: Mapping[str, Layer], members: int) -> PipelineSpec:
    """The specification, without embedding sizes."""
    norms = [layer for module, layer in layers.items() if module.rpartition(".")[2].startswith("norm")]
    convolutions = [layer for module, layer in layers.items() if layer not in norms and module != "output"]
    recipe = RECIPES["batch-ensemble"]
    if members > 1:
        recipe = Recipe(convolution=_source(convolutions), norm=_source(norms), output=_source([layers["output"]]))
    generates = Source.GENERATED in recipe.sources
    return PipelineSpec(
        network=network,
        members=members,
        recipe=recipe,
        hypernet=HypernetSpec(chunking=Chunking.HALVES) if generates else None,
        member_statistics=members > 1 and recipe.norm is Source.MEMBER,
    )


def _source(layers: Iterable[Layer]) -> Source:
    own = [layer for layer in layers if len(layer.members) > 1]
    if not own:
        return Source.SHARED
    return Source.GENERATED if any(layer.templates for layer in own) else Source.MEMBER


def _made(spec: PipelineSpec, layers: Mapping[str, Layer]) -> _Made:
    """The tensors of a specification, and its embedding sizes."""
    orders = orders_of(spec.network) if spec.recipe.convolution is Source.GENERATED else None
    tensors: dict[str, Tensor] = {}
    sizes = []
    for name, rows in _rows(spec, layers, orders).items():
        where = f"the templates of {name!r}"
        tensors[f"hypernet.{name}.basis"] = float32(where, rows.basis)
        tensors[f"hypernet.{name}.embedding"] = float32(f"the coefficients of {name!r}", rows.embedding)
        sizes.append(len(tensors[f"hypernet.{name}.basis"]))
    if spec.hypernet is not None:
        spec = replace(spec, hypernet=replace(spec.hypernet, embedding_sizes=tuple(sizes)))
    for stored in stored_tensors(spec):
        if stored.slot is not None:
            module, _, leaf = stored.slot.rpartition(".")
            found = _leaf(layers[module], leaf, orders.of(module) if orders is not None else (None, None))
            repeated = found * (spec.members if len(found) == 1 and stored.kind is StoredKind.MEMBER else 1)
            tensors[stored.name] = torch.stack(repeated) if stored.kind is StoredKind.MEMBER else found[0]
    return _Made(spec=spec, tensors=tensors)


def _rows(spec: PipelineSpec, layers: Mapping[str, Layer], orders: Orders | None) -> dict[str, Rows]:
    """What each internal hypernetwork is made of, in their order."""
    plan = plan_chunks(spec)
    found = {
        hypernet.name: Rows(members=spec.members, columns=None if orders is None else orders.in_chunks(hypernet.name))
        for hypernet in plan.hypernets
    }
    for slot, assembly in plan.assembly.items():
        module, _, leaf = slot.rpartition(".")
        if leaf == "weight":
            given = orders.of(module) if orders is not None else (None, None)
            found[assembly.pieces[0].hypernet].add(layers[module], assembly.pieces, given)
    return found


def _leaf(layer: Layer, leaf: str, orders: tuple[Tensor | None, Tensor | None]) -> list[Tensor]:
    """A tensor of each member, or the only one, as it is stored."""
    lowest = 0.0 if leaf == "running_var" else -math.inf
    return [
        float32(f"tensor '{layer.own}.{number}.{leaf}'", reordered(own[leaf], orders), lowest=lowest)
        for number, own in enumerate(plain(layer).members)
    ]
