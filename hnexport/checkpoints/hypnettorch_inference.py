"""From the shapes of hypnettorch's tensors to a specification.

State dicts carry no configuration. The main network's depth and widths follow from its batch norms (or its own
weights). What is left are a few questions with a few answers each: which tensors are generated, in how many layers,
with which chunking, which are shared and which belong to members. Each combination of answers is a reading; its layout
(`hypnettorch_layout`) either matches the tensors one by one or it does not. The first that matches is taken, in this
order of preference: fewer hidden layers, published before gcd chunking, the recipes of hypnettorch's tutorial before
others, an output layer with bias before one without. Readings that match equally describe the same network, except that

- an ensemble of one member cannot tell shared from member tensors (which makes no difference to its predictions);
- a generated output layer with bias and C classes of F features looks like one without bias where (F + 1) C = F C';
- two tensors of one shape that were stored in another order cannot be told apart.

Standard library only.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from hnexport.checkpoints.hypnettorch_layout import LayoutTensor, Shape, hypernet_layout, main_layout, norm_layout
from hnexport.errors import CheckpointError
from hnexport.hypernet.chunking import plan_chunks
from hnexport.hypernet.storage import StoredKind
from hnexport.networks.slots import Role
from hnexport.spec import Activation, Chunking, HypernetSpec, ImageSpec, PipelineSpec, Recipe, Source, WideResNetSpec

__all__ = ["Evidence", "HypnettorchOverrides", "Reading", "infer"]

T = TypeVar("T")

_USUAL_CHANNELS = 3
_MOST_HIDDEN_LAYERS = 4


@dataclass(frozen=True, kw_only=True)
class HypnettorchOverrides:
    """What the user says about a checkpoint; None is inferred. What contradicts the tensors is an error.

    Image height and width, and the activation between hidden layers, leave no trace in a checkpoint: they are 32x32 and
    ReLU unless they are given here.

    Attributes:
        network: `wrn-DEPTH-WIDENING`, with feature maps 16,16,32,64 unless `feature_maps` says otherwise.
        feature_maps: hypnettorch's `num_feature_maps`: before widening.
        statistics: use this set of batch-norm statistics (`mean_N`) for every member, instead of the only one, or of
            one set for each member.
    """

    network: str | None = None
    members: int | None = None
    classes: int | None = None
    feature_maps: tuple[int, int, int, int] | None = None
    image_channels: int | None = None
    image_height: int = 32
    image_width: int = 32
    conv_bias: bool | None = None
    output_bias: bool | None = None
    recipe: Recipe | None = None
    chunking: Chunking | None = None
    embedding_sizes: tuple[int, ...] | None = None
    hidden_layers: tuple[int, ...] | None = None
    hypernet_bias: bool | None = None
    activation: Activation = Activation.RELU
    statistics: int | None = None


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
class Reading:
    """One way to read a checkpoint, and how far it agrees with the tensors.

    Attributes:
        layout: the hypernetwork's tensors, as this reading expects them.
        shared_in_main: whether the shared tensors are the main network's own weights.
        agreeing: how many tensors agree before the first that does not.
    """

    spec: PipelineSpec
    layout: tuple[LayoutTensor, ...]
    shared_in_main: bool
    agreeing: int


@dataclass(frozen=True, kw_only=True)
class _Form:
    """The answers to the questions that shapes leave open."""

    recipe: Recipe
    chunking: Chunking
    hidden_layers: int
    hypernet_bias: bool
    channels: int
    conv_bias: bool
    output_bias: bool
    shared_in_main: bool


def infer(evidence: Evidence, overrides: HypnettorchOverrides) -> Reading:
    """The preferred reading that agrees with every tensor.

    Raises:
        CheckpointError: no reading agrees; the message names the first tensor that does not fit the one that comes
            closest, with the expected and the found shape.
        SpecError: the overrides contradict each other.
    """
    network = _network(evidence, overrides)
    _check_norms(evidence, network)
    best: Reading | None = None
    for form in _forms(evidence, network, overrides):
        reading = _read(form, evidence, network, overrides)
        if reading.agreeing == len(evidence.hypernet) == len(reading.layout):
            _check_main(evidence, reading)
            return reading
        if best is None or reading.agreeing > best.agreeing:
            best = reading
    assert best is not None  # _forms always yields
    raise CheckpointError(_disagreement(evidence, best))


def _network(evidence: Evidence, overrides: HypnettorchOverrides) -> WideResNetSpec:
    """Depth and widths; classes, channels and biases are filled in later."""
    batch_norm = bool(evidence.norms)
    if overrides.network is not None:
        named = WideResNetSpec.from_name(overrides.network)
        return replace(named, feature_maps=overrides.feature_maps or named.feature_maps, batch_norm=batch_norm)
    blocks, widths = _depth_and_widths(evidence)
    widening, maps = _feature_maps(widths, overrides.feature_maps)
    return WideResNetSpec(blocks_per_group=blocks, widening=widening, feature_maps=maps, batch_norm=batch_norm)


def _depth_and_widths(evidence: Evidence) -> tuple[int, tuple[int, ...]]:
    """Residual blocks of a group, and the feature maps of the input layer and of the three groups."""
    kernels = [shape for shape in (evidence.main or evidence.hypernet) if len(shape) == 4 and shape[2:] == (3, 3)]
    layers, what = (evidence.norms, "batch norms") if evidence.norms else (tuple(kernels), "3x3 convolutions")
    if not layers:
        raise CheckpointError(
            "the checkpoint does not show the main network's size: its state dict has neither batch norms nor weights. "
            "Give the main network's state dict (mnet), which holds the batch-norm statistics; for a network without "
            "batch norm give its name, for instance wrn-28-10"
        )
    if len(layers) < 7 or len(layers) % 6 != 1:
        raise CheckpointError(f"mnet: a Wide ResNet has 6n + 1 {what} (7, 13, 19, 25, …), found {len(layers)}")
    per_group = (len(layers) - 1) // 3
    groups = (layers[:1], *(layers[1 + group * per_group :][:per_group] for group in range(3)))
    return per_group // 2, tuple(max(1, _usual((shape[0] for shape in group if shape), 1)) for group in groups)


def _feature_maps(
    widths: tuple[int, ...], given: tuple[int, int, int, int] | None
) -> tuple[int, tuple[int, int, int, int]]:
    """Split widths into widening factor and feature maps; by default so that group 1 has the input layer's maps."""
    first, *groups = widths
    if given is not None:
        widening = max(1, groups[0] // max(1, given[1]))
        return widening, given
    widening = groups[0] // first if not any(width % max(1, groups[0] // first) for width in groups) else 1
    widening = max(1, widening)
    return widening, (first, *(width // widening for width in groups))  # type: ignore[return-value]


def _forms(evidence: Evidence, network: WideResNetSpec, overrides: HypnettorchOverrides) -> Iterator[_Form]:
    """Every combination of answers that the tensors leave open, the preferred one first."""
    main = tuple(evidence.main)
    known_bias = overrides.output_bias if overrides.output_bias is not None else _output_bias(main)
    output_biases = (True, False) if known_bias is None else (known_bias,)
    hypernet_bias = _given(overrides.hypernet_bias, len(evidence.hypernet) > 1 and len(evidence.hypernet[1]) == 1)
    chunkings = tuple(Chunking) if overrides.chunking is None else (overrides.chunking,)
    for hidden, channels, conv_bias, recipe in _first_answers(evidence, network, overrides, hypernet_bias):
        generates = Source.GENERATED in recipe.sources
        for chunking, output_bias, shared_in_main in itertools.product(
            chunkings if generates else chunkings[:1],
            output_biases,
            (False, True) if Source.SHARED in recipe.sources else (False,),
        ):
            yield _Form(
                recipe=recipe,
                chunking=chunking,
                hidden_layers=hidden,
                hypernet_bias=hypernet_bias,
                channels=channels,
                conv_bias=conv_bias,
                output_bias=output_bias,
                shared_in_main=shared_in_main,
            )


def _first_answers(
    evidence: Evidence, network: WideResNetSpec, overrides: HypnettorchOverrides, hypernet_bias: bool
) -> Iterator[tuple[int, int, bool, Recipe]]:
    """Hidden layers, image channels, convolution biases and recipe."""
    kernels = [index for index, shape in enumerate(evidence.hypernet) if len(shape) == 4]
    plain = 2 * len(kernels) > 6 * network.blocks_per_group + 1
    if overrides.recipe is not None:
        plain = Source.GENERATED not in overrides.recipe.sources
    usual_channels, usual_bias = _input_layer((*evidence.main, *evidence.hypernet))
    if plain:
        channels = _given(overrides.image_channels, usual_channels)
        conv_bias = _given(overrides.conv_bias, usual_bias)
        for recipe in _recipes(overrides, convolution=(Source.SHARED, Source.MEMBER)):
            yield 0, channels, conv_bias, recipe
        return
    depths = range(_MOST_HIDDEN_LAYERS) if overrides.hidden_layers is None else (len(overrides.hidden_layers),)
    chunks = {depth: _input_chunk(evidence, network, depth, hypernet_bias) for depth in depths}
    if not any(chunks.values()):  # no depth explains the first chunk; the closest reading says what would
        chunks = dict.fromkeys(depths, (usual_channels, usual_bias, False))
    for depth, chunk in chunks.items():
        if chunk is not None:
            norms = (Source.GENERATED,) if chunk[2] else (Source.SHARED, Source.MEMBER)
            channels = _given(overrides.image_channels, chunk[0])
            conv_bias = _given(overrides.conv_bias, chunk[1])
            for recipe in _recipes(overrides, convolution=(Source.GENERATED,), norms=norms):
                yield depth, channels, conv_bias, recipe


def _recipes(
    overrides: HypnettorchOverrides, *, convolution: tuple[Source, ...], norms: tuple[Source, ...] | None = None
) -> Iterator[Recipe]:
    if overrides.recipe is not None:
        yield overrides.recipe
        return
    generated = Source.GENERATED in convolution
    outputs = (Source.MEMBER, Source.GENERATED, Source.SHARED) if generated else (Source.MEMBER, Source.SHARED)
    for source, norm, output in itertools.product(convolution, norms or (Source.MEMBER, Source.SHARED), outputs):
        if not source is norm is output is Source.SHARED:
            yield Recipe(convolution=source, norm=norm, output=output)


def _input_chunk(
    evidence: Evidence, network: WideResNetSpec, hidden_layers: int, hypernet_bias: bool
) -> tuple[int, bool, bool] | None:
    """Image channels, convolution bias and generated batch norm, from the size of the input layer's chunk.

    The chunk holds a kernel of `9 * channels` numbers for each feature map, and one for each of bias, scale, shift.
    """
    position = hidden_layers * (1 + hypernet_bias)
    shape = evidence.hypernet[position] if position < len(evidence.hypernet) else ()
    if len(shape) != 2 or shape[0] % network.widths[0]:
        return None
    channels, extra = divmod(shape[0] // network.widths[0], 9)
    if channels < 1 or extra > 3 or (extra > 1 and not network.batch_norm):
        return None
    bias = extra % 2 == 1
    if evidence.main and _input_layer(evidence.main) != (channels, bias):
        return None
    return channels, bias, extra >= 2


def _read(form: _Form, evidence: Evidence, network: WideResNetSpec, overrides: HypnettorchOverrides) -> Reading:
    """Fill in what a form does not say from the shapes at the positions where it expects them."""
    image = ImageSpec(channels=form.channels, height=overrides.image_height, width=overrides.image_width)
    network = replace(
        network,
        image=image,
        conv_bias=form.conv_bias,
        output_bias=form.output_bias,
        classes=_given(overrides.classes, 1),
    )
    spec = PipelineSpec(network=network, members=1, recipe=form.recipe, hypernet=_hypernet(form, evidence, overrides))
    layout = hypernet_layout(spec, shared_in_main=form.shared_in_main)
    spec = replace(spec, members=_given(overrides.members, _members(layout, len(evidence.hypernet))))
    if spec.members > len(evidence.hypernet):
        raise CheckpointError(f"hnet: {spec.members} members need as many tensors, found {len(evidence.hypernet)}")
    classes = _given(overrides.classes, _classes(form, evidence, spec))
    spec = replace(spec, network=replace(network, classes=classes))
    if spec.hypernet is not None:
        sizes = _given(overrides.embedding_sizes, _embedding_sizes(evidence, spec))
        spec = replace(spec, hypernet=replace(spec.hypernet, embedding_sizes=sizes))
    layout = hypernet_layout(spec, shared_in_main=form.shared_in_main)
    pairs = zip(layout, evidence.hypernet, strict=False)
    agreeing = sum(1 for _ in itertools.takewhile(lambda pair: pair[0].shape == pair[1], pairs))
    return Reading(spec=spec, layout=layout, shared_in_main=form.shared_in_main, agreeing=agreeing)


def _hypernet(form: _Form, evidence: Evidence, overrides: HypnettorchOverrides) -> HypernetSpec | None:
    if Source.GENERATED not in form.recipe.sources:
        return None
    per_layer = 1 + form.hypernet_bias
    step = per_layer * (form.hidden_layers + 1)
    sizes = []
    for layer in range(form.hidden_layers):
        found = (shape[0] for shape in evidence.hypernet[layer * per_layer :: step] if len(shape) == 2)
        sizes.append(_usual(itertools.islice(found, 3), 1))  # all internal hypernetworks have the same; three can vote
    return HypernetSpec(
        chunking=form.chunking,
        hidden_layers=_given(overrides.hidden_layers, tuple(sizes)),
        bias=form.hypernet_bias,
        activation=overrides.activation,
    )


def _members(layout: tuple[LayoutTensor, ...], tensors: int) -> int:
    """How often the tensors of one member fit into what there is."""
    each = sum(tensor.member is not None for tensor in layout)
    return max(1, round((tensors - (len(layout) - each)) / each)) if each else 1


def _classes(form: _Form, evidence: Evidence, spec: PipelineSpec) -> int:
    features = spec.network.widths[3]
    if evidence.main:
        *_, last = (shape for shape in evidence.main if shape)
        return max(1, last[0])
    layout = hypernet_layout(spec, shared_in_main=form.shared_in_main)
    if spec.recipe.output is Source.GENERATED:
        (position,) = (i for i, tensor in enumerate(layout) if _is_output_basis(tensor))
        size = evidence.hypernet[position][0] if position < len(evidence.hypernet) else 1
        return max(1, size // (features + spec.network.output_bias))
    positions = [
        i for i, tensor in enumerate(layout) if tensor.stored.slot and tensor.stored.slot.role is Role.OUTPUT_WEIGHT
    ]
    found = [evidence.hypernet[i] for i in positions if i < len(evidence.hypernet)]
    return max(1, _usual((shape[0] for shape in found if len(shape) == 2 and shape[1] == features), 1))


def _is_output_basis(tensor: LayoutTensor) -> bool:
    owner = tensor.stored.hypernet
    return tensor.stored.kind is StoredKind.BASIS and owner is not None and owner.name == "output"


def _embedding_sizes(evidence: Evidence, spec: PipelineSpec) -> tuple[int, ...]:
    """From each internal hypernetwork's first layer, or, where that has the wrong shape, from its chunk embeddings."""
    layout = hypernet_layout(spec)
    sizes = []
    for hypernet in plan_chunks(spec).hypernets:
        own = [
            i
            for i, tensor in enumerate(layout)
            if tensor.stored.hypernet is not None
            and tensor.stored.hypernet.name == hypernet.name
            and i < len(evidence.hypernet)
        ]
        first = next((evidence.hypernet[i] for i in own if len(evidence.hypernet[i]) == 2), ())
        embeddings = [evidence.hypernet[i] for i in own if layout[i].stored.kind is StoredKind.EMBEDDING]
        if not first or (first[0] != layout[own[0]].shape[0] and embeddings and len(embeddings[0]) == 2):
            first = embeddings[0] if embeddings else ()
        sizes.append(max(1, first[1]) if len(first) == 2 else hypernet.embedding_size)
    return tuple(sizes)


def _input_layer(shapes: Iterable[Shape]) -> tuple[int, bool]:
    """Image channels and convolution bias, from the first 3x3 kernel and what follows it; by default 3, without."""
    rest = itertools.dropwhile(lambda shape: not (len(shape) == 4 and shape[2:] == (3, 3)), shapes)
    kernel = next(rest, None)
    if kernel is None:
        return _USUAL_CHANNELS, False
    return max(1, kernel[1]), len(next(rest, ())) == 1


def _output_bias(main: tuple[Shape, ...]) -> bool | None:
    return len(main[-1]) == 1 if main else None


def _check_norms(evidence: Evidence, network: WideResNetSpec) -> None:
    expected = norm_layout(network)
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


def _check_main(evidence: Evidence, reading: Reading) -> None:
    expected = main_layout(reading.spec.network)
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


def _disagreement(evidence: Evidence, reading: Reading) -> str:
    """The message for the first tensor that does not fit."""
    index, read = reading.agreeing, f"reading the checkpoint as {reading.spec.name}"
    if reading.spec.hypernet is not None:
        read += f" with {reading.spec.hypernet.chunking} chunking"
    read += "; if it is something else, say so with the overrides (members, recipe, chunking, …)"
    if not evidence.norms:
        read += "; a network with batch norm needs the main network's state dict (mnet)"
    name = f"hnet tensor '_internal_params.{index}'"
    if index >= len(evidence.hypernet):
        expected = reading.layout[index]
        return f"{name} ({expected.description}) is missing: expected shape {list(expected.shape)}, {read}"
    found = list(evidence.hypernet[index])
    if index >= len(reading.layout):
        return (
            f"{name} belongs to nothing: expected {len(reading.layout)} tensors, found this, of shape {found}, {read}"
        )
    expected = reading.layout[index]
    return f"{name} ({expected.description}): expected shape {list(expected.shape)}, found {found}, {read}"


def _given(value: T | None, otherwise: T) -> T:
    return otherwise if value is None else value


def _usual(values: Iterable[int], otherwise: int) -> int:
    """The value that occurs most often."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else otherwise
