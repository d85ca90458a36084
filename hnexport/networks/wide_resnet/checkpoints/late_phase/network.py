"""Which Wide ResNet the layers of a late-phase state dict are, and which layer is which of ours."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from hnexport.errors import CheckpointError
from hnexport.networks.wide_resnet.checkpoints.late_phase.kernels import HEAD
from hnexport.networks.wide_resnet.checkpoints.late_phase.layers import COEFFICIENTS, Layer
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import ImageSpec, ShortcutInput, WideResNetSpec

__all__ = ["SIZE", "check_layers", "infer_network", "layer_names"]

SIZE = (32, 32)
"""Height and width of the images: that code knows no others, and the tensors say nothing of them."""
_OURS = {"bn1": "norm1", "conv1": "conv1", "bn2": "norm2", "conv2": "conv2", "convShortcut": "shortcut"}


def infer_network(layers: Mapping[str, Layer], image: ImageSpec | None) -> WideResNetSpec:
    """The network of that code whose layers these are.

    Args:
        image: the size of the images; None is 32x32, with the channels that the input layer takes.

    Raises:
        CheckpointError: a layer that says it is missing, or the widths are not those of such a network, or the input
            layer takes other channels than `image` has.
    """
    for name in ("input_layer", "adapter.0.conv1", "adapter.0.conv2", HEAD):
        if name not in layers:
            raise CheckpointError(f"layer {name!r} is missing: expected all of a late-phase Wide ResNet's")
    first, width = max(1, _channels(layers["adapter.0.conv1"])[1]), _channels(layers["adapter.0.conv2"])[0]
    channels = _channels(layers["input_layer"])[1]
    if image is not None and image.channels != channels:
        raise CheckpointError(f"layer 'input_layer' takes {channels} channels, the images have {image.channels}")
    if width % first:
        raise CheckpointError(f"layer 'adapter.0.conv2': expected a multiple of {first} feature maps, found {width}")
    blocks = [name.split(".")[2] for name in layers if name.startswith("conv_block.0.")]
    return WideResNetSpec(
        blocks_per_group=1 + len(set(blocks)),
        widening=width // first,
        classes=_channels(layers[HEAD])[0],
        image=image or ImageSpec(channels=channels, height=SIZE[0], width=SIZE[1]),
        feature_maps=(first, first, 2 * first, 4 * first),
        shortcut_input=ShortcutInput.PREACTIVATED,
    )


def layer_names(network: WideResNetSpec) -> dict[str, str]:
    """That code's name of each layer by ours (`group1.block1.conv1`), in the order of the slots."""
    ours = dict.fromkeys(slot.name.rpartition(".")[0] for slot in network_slots(network))
    return {name: _theirs(network, name) for name in ours}


def check_layers(network: WideResNetSpec, layers: Mapping[str, Layer]) -> None:
    """Check that the layers are all those of the network and have its shapes.

    Raises:
        CheckpointError: a layer or a tensor is missing, is one too many or has another shape.
    """
    names, read = layer_names(network), f"reading the file as {network.name}"
    for name in names.values():
        if name not in layers:
            raise CheckpointError(f"layer {name!r} is missing, {read}")
    for name in layers:
        if name not in names.values():
            raise CheckpointError(f"layer {name!r} belongs to no place, {read}")
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for slot in network_slots(network):
        ours, _, leaf = slot.name.rpartition(".")
        shapes.setdefault(names[ours], {})[leaf] = slot.shape
    for name, expected in shapes.items():
        for where, wanted, found in _compared(layers[name], expected):
            if wanted != found:
                raise CheckpointError(f"tensor '{where}': expected {_shown(wanted)}, found {_shown(found)}, {read}")


def _compared(
    layer: Layer, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Every tensor of a layer: its name, the shape it should have, and the one that it has."""
    own, expected = _shapes(layer.members[0]), dict(shapes)
    if layer.templates:
        bank, coefficients = _shapes(layer.templates), own[COEFFICIENTS]
        split = coefficients[1] if len(coefficients) == 2 and coefficients[1] else 1
        out, channels, *kernel = shapes["weight"]
        yield f"{layer.own}.0", (coefficients[0], split), coefficients if channels % split == 0 else None
        yield (
            f"{layer.name}.bank.templates.weight",
            (out, *kernel, channels // split, coefficients[0]),
            bank.get("weight"),
        )
        if layer.name == HEAD:
            yield f"{layer.name}.bank.templates.bias", (out, coefficients[0]), bank.get("bias")
        return
    for leaf in dict.fromkeys([*expected, *own]):
        yield f"{layer.own}.0.{leaf}", expected.get(leaf), own.get(leaf)


def _shapes(own: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {leaf: tuple(tensor.shape) for leaf, tensor in own.items()}


def _channels(layer: Layer) -> tuple[int, int]:
    """How many channels a layer gives, and how many it takes."""
    own = layer.members[0]
    shape = tuple((layer.templates or own).get("weight", next(iter(own.values()))).shape)
    if not layer.templates:
        return (shape[0], shape[1]) if len(shape) > 1 else (1, 1)
    split = own[COEFFICIENTS].shape[-1] if own[COEFFICIENTS].dim() == 2 else 1
    return (shape[0], shape[-2] * split) if len(shape) > 2 else (1, 1)


def _theirs(network: WideResNetSpec, ours: str) -> str:
    if "." not in ours:
        last = f"conv_block.2.{network.blocks_per_group - 1}"
        return {"input": "input_layer", "norm": last, "output": HEAD}[ours]
    group, block, layer = ours.split(".")
    number, position = int(group.removeprefix("group")) - 1, int(block.removeprefix("block")) - 2
    inside = {name: theirs for theirs, name in _OURS.items()}[layer]
    return f"adapter.{number}.{inside}" if position < 0 else f"conv_block.{number}.{position}.{inside}"


def _shown(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else f"shape {list(shape)}"
