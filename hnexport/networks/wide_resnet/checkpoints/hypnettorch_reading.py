"""One way to read hypnettorch's tensors, filled in from their shapes, and how it compares with them.

Standard library only.
"""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_kinds import WAY_IN
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_order import (
    OrderedTensor,
    Shape,
    hypernet_order,
    main_order,
    norm_order,
)
from hnexport.networks.wide_resnet.chunking import plan_chunks
from hnexport.networks.wide_resnet.slots import Role, network_slots
from hnexport.networks.wide_resnet.spec import ImageSpec, PipelineSpec, Recipe, WideResNetSpec
from hnexport.spec import Activation, Chunking, HypernetSpec, Source, StoredKind

__all__ = [
    "Evidence",
    "Form",
    "HypnettorchOverrides",
    "Reading",
    "check_main",
    "check_norms",
    "describe_disagreement",
    "given",
    "read",
    "usual",
]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class HypnettorchOverrides:
    """What the user says about a checkpoint; None is inferred. What contradicts the tensors is an error.

    Image height and width leave no trace in a checkpoint: they are 32x32 unless they are given here. Neither does the
    activation between hidden layers: where there are such, it has to be given.

    Attributes:
        network: `wrn-DEPTH-WIDENING`, with feature maps 16,16,32,64 unless `feature_maps` says otherwise.
        feature_maps: hypnettorch's `num_feature_maps`: before widening.
        statistics: the sets of batch-norm statistics (`mean_N`) to use, instead of the only one or of one for each
            member in order: a number for every member alike, or a tuple with one for each.
    """

    network: str | None = None
    members: int | None = None
    classes: int | None = None
    feature_maps: tuple[int, int, int, int] | None = None
    image_channels: int | None = None
    image_height: int | None = None
    image_width: int | None = None
    conv_bias: bool | None = None
    output_bias: bool | None = None
    recipe: Recipe | None = None
    chunking: Chunking | None = None
    embedding_sizes: tuple[int, ...] | None = None
    hidden_layers: tuple[int, ...] | None = None
    hypernet_bias: bool | None = None
    activation: Activation | None = None
    statistics: int | tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The shapes that two state dicts show.

    Attributes:
        hypernet: `_internal_params` of the hypernetwork.
        main: `_internal_params` of the main network; empty where it keeps no weights.
        norms: `mean_0` of each of the main network's batch norms; empty where it has none.
    """

    hypernet: tuple[Shape, ...]
    main: tuple[Shape, ...] = ()
    norms: tuple[Shape, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Form:
    """The answers to the questions that shapes leave open."""

    recipe: Recipe
    chunking: Chunking
    hidden_layers: int
    hypernet_bias: bool
    channels: int
    conv_bias: bool
    output_bias: bool
    shared_in_main: bool


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to read a checkpoint, and how far it agrees with the tensors.

    Attributes:
        expected: the hypernetwork's tensors, as this reading expects them.
        shared_in_main: whether the shared tensors are the main network's own weights.
        disagreement: the position of the first tensor that does not fit, or None.
        agreeing: how many tensors fit, less those that there are too many or too few.
    """

    spec: PipelineSpec
    expected: tuple[OrderedTensor, ...]
    shared_in_main: bool
    disagreement: int | None
    agreeing: int


def read(form: Form, evidence: Evidence, network: WideResNetSpec, overrides: HypnettorchOverrides) -> Reading:
    """Fill in what a form does not say from the shapes at the positions where it expects them."""
    height, width = given(overrides.image_height, 32), given(overrides.image_width, 32)
    image = ImageSpec(channels=form.channels, height=height, width=width)
    network = replace(
        network,
        image=image,
        conv_bias=form.conv_bias,
        output_bias=form.output_bias,
        classes=given(overrides.classes, 1),
    )
    spec = PipelineSpec(network=network, members=1, recipe=form.recipe, hypernet=_hypernet(form, evidence, overrides))
    order = hypernet_order(spec, shared_in_main=form.shared_in_main)
    spec = replace(spec, members=given(overrides.members, _members(order, len(evidence.hypernet))))
    if spec.members > len(evidence.hypernet):
        raise CheckpointError(f"hnet: {spec.members} members need as many tensors, found {len(evidence.hypernet)}")
    order = hypernet_order(spec, shared_in_main=form.shared_in_main)
    classes = given(overrides.classes, _classes(evidence, spec, order))
    if spec.hypernet is not None:
        sizes = given(overrides.embedding_sizes, _embedding_sizes(evidence, spec, order))
        spec = replace(spec, hypernet=replace(spec.hypernet, embedding_sizes=sizes))
    spec = replace(spec, network=replace(network, classes=classes))
    order = hypernet_order(spec, shared_in_main=form.shared_in_main)
    fits = [expected.shape == found for expected, found in zip(order, evidence.hypernet, strict=False)]
    surplus = abs(len(order) - len(evidence.hypernet))
    return Reading(
        spec=spec,
        expected=order,
        shared_in_main=form.shared_in_main,
        disagreement=fits.index(False) if False in fits else len(fits) if surplus else None,
        agreeing=sum(fits) - surplus,
    )


def _hypernet(form: Form, evidence: Evidence, overrides: HypnettorchOverrides) -> HypernetSpec | None:
    if Source.GENERATED not in form.recipe.sources:
        return None
    per_layer = 1 + form.hypernet_bias
    step = per_layer * (form.hidden_layers + 1)
    sizes = []
    for layer in range(form.hidden_layers):
        found = (shape[0] for shape in evidence.hypernet[layer * per_layer :: step] if len(shape) == 2)
        sizes.append(usual(itertools.islice(found, 3), 1))  # all internal hypernetworks have the same; three can vote
    return HypernetSpec(
        chunking=form.chunking,
        hidden_layers=given(overrides.hidden_layers, tuple(sizes)),
        bias=form.hypernet_bias,
        activation=given(overrides.activation, Activation.RELU),
    )


def _members(order: tuple[OrderedTensor, ...], tensors: int) -> int:
    """How often the tensors of one member fit into what there is."""
    each = sum(tensor.member is not None for tensor in order)
    return max(1, round((tensors - (len(order) - each)) / each)) if each else 1


def _classes(evidence: Evidence, spec: PipelineSpec, order: tuple[OrderedTensor, ...]) -> int:
    features = spec.network.widths[3]
    main = next((shape[0] for shape in reversed(evidence.main) if shape), None)
    if spec.recipe.output is Source.GENERATED:
        (position,) = (i for i, tensor in enumerate(order) if _is_output_basis(tensor))
        shape = evidence.hypernet[position] if position < len(evidence.hypernet) else ()
        per_class = features + spec.network.output_bias
        if not shape or shape[0] % per_class:
            return max(1, given(main, 1))
        return max(1, shape[0] // per_class)
    weights = {slot.name for slot in network_slots(spec.network) if slot.role is Role.OUTPUT_WEIGHT}
    positions = [i for i, tensor in enumerate(order) if tensor.stored.slot in weights]
    found = [evidence.hypernet[i] for i in positions if i < len(evidence.hypernet)]
    return max(1, usual((shape[0] for shape in found if len(shape) == 2 and shape[1] == features), given(main, 1)))


def _is_output_basis(tensor: OrderedTensor) -> bool:
    return tensor.stored.kind is StoredKind.BASIS and tensor.stored.hypernet == "output"


def _embedding_sizes(evidence: Evidence, spec: PipelineSpec, order: tuple[OrderedTensor, ...]) -> tuple[int, ...]:
    """From each internal hypernetwork's first layer, or, where that has the wrong shape, from its chunk embeddings."""
    own: dict[str, list[int]] = {}
    for index, tensor in enumerate(order[: len(evidence.hypernet)]):
        if tensor.stored.hypernet is not None:
            own.setdefault(tensor.stored.hypernet, []).append(index)
    sizes = []
    for hypernet in plan_chunks(spec).hypernets:
        positions = own.get(hypernet.name, [])
        first = next((evidence.hypernet[i] for i in positions if len(evidence.hypernet[i]) == 2), ())
        embeddings = [evidence.hypernet[i] for i in positions if order[i].stored.kind is StoredKind.EMBEDDING]
        if not first or (first[0] != order[positions[0]].shape[0] and embeddings and len(embeddings[0]) == 2):
            first = embeddings[0] if embeddings else ()
        sizes.append(max(1, first[1]) if len(first) == 2 else hypernet.embedding_size)
    return tuple(sizes)


def check_norms(evidence: Evidence, network: WideResNetSpec) -> None:
    """Compare the batch norms that the state dict has with those of the network.

    Raises:
        CheckpointError: one has another size, is missing, or is one too many.
    """
    expected = norm_order(network)
    for index, found in enumerate(evidence.norms[: len(expected)]):
        shape = expected[index][0].shape
        if found != shape:
            raise CheckpointError(
                f"mnet tensor '_batchnorm_layers.{index}.mean_0': expected shape {list(shape)} for {network.name} with "
                f"feature maps {list(network.feature_maps)}, found {list(found)}"
            )
    if len(evidence.norms) != len(expected):
        index = min(len(evidence.norms), len(expected))
        what = "is missing" if len(evidence.norms) < len(expected) else "belongs to no layer"
        raise CheckpointError(
            f"mnet tensor '_batchnorm_layers.{index}.mean_0' {what}: expected {len(expected)} batch norms for "
            f"{network.name}, found {len(evidence.norms)}"
        )


def check_main(evidence: Evidence, reading: Reading) -> None:
    """Compare the main network's own weights, where it keeps any, with those of the reading.

    Raises:
        CheckpointError: one has another shape, is missing, or is one too many.
    """
    expected = main_order(reading.spec.network)
    if reading.shared_in_main and not evidence.main:
        raise CheckpointError(
            "the hypernetwork holds no shared tensors, and the main network's state dict has none either "
            f"(no_weights=True): expected {expected[0].name!r} and others in one of them"
        )
    for index, (slot, found) in enumerate(zip(expected, evidence.main, strict=False)):
        if slot.shape != found:
            raise CheckpointError(
                f"mnet tensor '_internal_params.{index}' ({slot.name}): expected shape {list(slot.shape)}, "
                f"found {list(found)}, reading the checkpoint as {reading.spec.name}"
            )
    if evidence.main and len(evidence.main) != len(expected):
        index = min(len(evidence.main), len(expected))
        raise CheckpointError(
            f"mnet tensor '_internal_params.{index}': expected {len(expected)} tensors for "
            f"{reading.spec.network.name}, found {len(evidence.main)}"
        )


def describe_disagreement(evidence: Evidence, reading: Reading) -> str:
    """The message for the first tensor that does not fit."""
    index, read = reading.disagreement or 0, f"reading the checkpoint as {reading.spec.name}"
    if reading.spec.hypernet is not None:
        read += f" with {reading.spec.hypernet.chunking} chunking"
    read += "; if it is another WRN, say so with the overrides (members, recipe, chunking, …)"
    if not evidence.norms:
        read += "; a network with batch norm needs the main network's state dict (mnet)"
    read += f"; if it is none, as a ResNet, or chunked otherwise, {WAY_IN}"
    name = f"hnet tensor '_internal_params.{index}'"
    if index >= len(evidence.hypernet):
        expected = reading.expected[index]
        return f"{name} ({expected.description}) is missing: expected shape {list(expected.shape)}, {read}"
    found = list(evidence.hypernet[index])
    if index >= len(reading.expected):
        return (
            f"{name} belongs to nothing: expected {len(reading.expected)} tensors, found this, of shape {found}, {read}"
        )
    expected = reading.expected[index]
    return f"{name} ({expected.description}): expected shape {list(expected.shape)}, found {found}, {read}"


def given(value: T | None, otherwise: T) -> T:
    """`value`, or `otherwise` where there is none."""
    return otherwise if value is None else value


def usual(values: Iterable[int], otherwise: int) -> int:
    """The value that occurs most often."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else otherwise
