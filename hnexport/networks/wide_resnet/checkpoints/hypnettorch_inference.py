"""From the shapes of hypnettorch's tensors to a specification.

State dicts carry no configuration. The main network's depth and widths follow from its batch norms (or its own
weights). What is left are a few questions with a few answers each: which tensors are generated, in how many layers,
with which chunking, which are shared and which belong to members. Each combination of answers is a reading; the
tensors that it expects (`hypnettorch_order`) either match those that are there one by one or they do not. The first
that matches is taken, in this order of preference: fewer hidden layers, published before gcd chunking, the recipes of
hypnettorch's tutorial before others, an output layer with bias before one without. Readings that match equally
describe the same network, except that

- an ensemble of one member cannot tell shared from member tensors (which makes no difference to its predictions);
- a generated output layer with bias and C classes of F features looks like one without bias where (F + 1) C = F C';
- two tensors of one shape that were stored in another order cannot be told apart.

Standard library only.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hnexport.errors import CheckpointError, SpecError
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_kinds import WAY_IN
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_order import Shape
from hnexport.networks.wide_resnet.checkpoints.hypnettorch_reading import (
    Evidence,
    Form,
    HypnettorchOverrides,
    Reading,
    check_main,
    check_norms,
    describe_disagreement,
    given,
    read,
    usual,
)
from hnexport.networks.wide_resnet.spec import Recipe, WideResNetSpec
from hnexport.spec import Chunking, Source

__all__ = ["Evidence", "HypnettorchOverrides", "Reading", "infer"]

_USUAL_CHANNELS = 3
_MOST_HIDDEN_LAYERS = 4


def infer(evidence: Evidence, overrides: HypnettorchOverrides) -> Reading:
    """The preferred reading that agrees with every tensor.

    Raises:
        CheckpointError: no reading agrees; the message names the first tensor that does not fit the one that comes
            closest, with the expected and the found shape.
        SpecError: the overrides contradict each other.
    """
    network = _network(evidence, overrides)
    check_norms(evidence, network)
    best: Reading | None = None
    impossible: SpecError | None = None
    for form in _forms(evidence, network, overrides):
        try:
            reading = read(form, evidence, network, overrides)
        except SpecError as error:  # the overrides rule this form out
            impossible = impossible or error
            continue
        if reading.disagreement is None:
            check_main(evidence, reading)
            return reading
        if best is None or reading.agreeing > best.agreeing:
            best = reading
    if best is None:
        raise impossible or SpecError("the overrides leave no way to read the checkpoint")
    raise CheckpointError(describe_disagreement(evidence, best))


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
            f"batch norm give its name, for instance wrn-28-10. If it is no WRN, {WAY_IN}"
        )
    if len(layers) < 7 or len(layers) % 6 != 1:
        raise CheckpointError(
            f"mnet: a Wide ResNet has 6n + 1 {what} (7, 13, 19, 25, …), found {len(layers)}; if it is none, {WAY_IN}"
        )
    per_group = (len(layers) - 1) // 3
    groups = (layers[:1], *(layers[1 + group * per_group :][:per_group] for group in range(3)))
    return per_group // 2, tuple(max(1, usual((shape[0] for shape in group if shape), 1)) for group in groups)


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


def _forms(evidence: Evidence, network: WideResNetSpec, overrides: HypnettorchOverrides) -> Iterator[Form]:
    """Every combination of answers that the tensors leave open, the preferred one first."""
    output_biases = (True, False) if overrides.output_bias is None else (overrides.output_bias,)
    if evidence.main and len(evidence.main[-1]) != 1:
        output_biases = output_biases[::-1]  # as the main network's own output layer
    hypernet_bias = given(overrides.hypernet_bias, len(evidence.hypernet) > 1 and len(evidence.hypernet[1]) == 1)
    chunkings = (Chunking.PUBLISHED, Chunking.GCD) if overrides.chunking is None else (overrides.chunking,)
    ratios = {max(pair) / min(pair) for pair in itertools.pairwise(network.widths)}
    if ratios <= {1.0, 2.0}:
        chunkings = chunkings[:1]  # both cut such a network in the same way
    for hidden, channels, conv_bias, recipe in _first_answers(evidence, network, overrides, hypernet_bias):
        generates = Source.GENERATED in recipe.sources
        for chunking, output_bias, shared_in_main in itertools.product(
            chunkings if generates else chunkings[:1],
            output_biases,
            (False, True) if Source.SHARED in recipe.sources else (False,),
        ):
            yield Form(
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
    channels, conv_bias = _input_layer((*evidence.hypernet, *evidence.main))
    if plain:
        answers = [(0, channels, conv_bias, False)]
    else:
        depths = range(_MOST_HIDDEN_LAYERS) if overrides.hidden_layers is None else (len(overrides.hidden_layers),)
        chunks = {depth: _input_chunk(evidence, network, depth, hypernet_bias) for depth in depths}
        answers = [(depth, *chunk) for depth, chunk in chunks.items() if chunk is not None]
        # last those that the first chunk rules out: one of them may be closest, if that chunk is what is wrong
        answers += [(depth, channels, conv_bias, False) for depth, chunk in chunks.items() if chunk is None]
    for depth, found_channels, found_bias, norms_generated in answers:
        for recipe in _recipes(plain, norms_generated) if overrides.recipe is None else (overrides.recipe,):
            yield (
                depth,
                given(overrides.image_channels, found_channels),
                given(overrides.conv_bias, found_bias),
                recipe,
            )


def _recipes(plain: bool, norms_generated: bool) -> Iterator[Recipe]:
    """The recipes without (`plain`) or with generated convolutions, those of hypnettorch's tutorial first."""
    convolutions: tuple[Source, ...]
    norms: tuple[Source, ...]
    outputs: tuple[Source, ...]
    if plain:
        convolutions, norms = (Source.SHARED, Source.MEMBER), (Source.MEMBER, Source.SHARED)
        outputs = (Source.MEMBER, Source.SHARED)
    else:
        convolutions, outputs = (Source.GENERATED,), (Source.MEMBER, Source.GENERATED, Source.SHARED)
        norms = (Source.GENERATED,) if norms_generated else (Source.SHARED, Source.MEMBER)
    for convolution, norm, output in itertools.product(convolutions, norms, outputs):
        if not convolution is norm is output is Source.SHARED:
            yield Recipe(convolution=convolution, norm=norm, output=output)


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
    return channels, extra % 2 == 1, extra >= 2


def _input_layer(shapes: Iterable[Shape]) -> tuple[int, bool]:
    """Image channels and convolution bias, from the first 3x3 kernel and what follows it; by default 3, without."""
    rest = itertools.dropwhile(lambda shape: not (len(shape) == 4 and shape[2:] == (3, 3)), shapes)
    kernel = next(rest, None)
    if kernel is None:
        return _USUAL_CHANNELS, False
    return max(1, kernel[1]), len(next(rest, ())) == 1
