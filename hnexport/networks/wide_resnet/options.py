"""How a command line describes a Wide ResNet ensemble: its options, and the checkpoint that they ask for.

Random weights, a hypnettorch ensemble or a native checkpoint. Importing it needs click alone, so that `--help` answers
at once; the commands reach it through `hnexport.families.command_line`.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.number_lists import Integers, Numbers
from hnexport.progress import Progress

if TYPE_CHECKING:
    from hnexport.networks.wide_resnet.checkpoints import Checkpoint, HypnettorchOverrides, Recalibration
    from hnexport.networks.wide_resnet.spec import ImageSpec, PreprocessSpec, Recipe

__all__ = [
    "build_options",
    "check_target",
    "checkpoint",
    "convert_options",
    "imported",
    "loaded",
    "recalibrated",
    "save",
]

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
STATISTICS = click.option(
    "--statistics",
    type=Integers(),
    help="Sets of batch-norm statistics (mean_N) to use: one for every member, or one for each, 0,1,2.",
)
PREFIXES = (
    click.option("--hnet-prefix", help="Where a file holds several: what stands before the hypernetwork's names."),
    click.option("--mnet-prefix", help="The same for the main network's, for instance state_dict.model.mnet."),
)
SOURCES = (
    click.option("--hypnettorch", type=FILE, help="A trained ensemble: one file with the state dicts hnet and mnet."),
    click.option("--hnet", type=FILE, help="Its hypernetwork's state dict, where that is a file of its own."),
    click.option("--mnet", type=FILE, help="Its main network's state dict, for the batch-norm statistics."),
    *PREFIXES,
    STATISTICS,
    click.option("--checkpoint", type=FILE, help="A native checkpoint, from `hnexport convert` or your training code."),
    click.option("--seed", type=int, help="Of random weights, where no trained ones are given.  [default: 0]"),
)
STATE_DICTS = (
    click.option("--hnet", type=FILE, help="The hypernetwork's state dict, where that is a file of its own."),
    click.option("--mnet", type=FILE, help="The main network's state dict, for the batch-norm statistics."),
    *PREFIXES,
    STATISTICS,
)
SPECIFICATION = (
    click.option("--members", type=int, help="Number of ensemble members; needed for random weights."),
    click.option("--network", help="Main network, wrn-DEPTH-WIDENING.  [default for random weights: wrn-28-10]"),
    click.option("--classes", type=int, help="[default for random weights: 10]"),
    click.option("--image", type=Integers(), help="Channels, height, width.  [default: 3,32,32]"),
    click.option("--feature-maps", type=Integers(), help="Four numbers, before widening.  [default: 16,16,32,64]"),
    click.option("--conv-bias/--no-conv-bias", default=None, help="Whether the 3x3 convolutions have biases."),
    click.option("--output-bias/--no-output-bias", default=None, help="Whether the output layer has a bias."),
    click.option("--recipe", type=click.Choice(["hypernet", "batch-ensemble"]), help="[default: hypernet]"),
    click.option(
        "--generate",
        multiple=True,
        type=click.Choice(["norm", "output"]),
        help="Let the hypernetwork generate these too.",
    ),
    click.option("--chunking", type=click.Choice(["published", "gcd"]), help="[default: published]"),
    click.option("--embedding-sizes", type=Integers(), help="One for each internal hypernetwork, 10,7,14,…."),
    click.option("--hidden-layers", type=Integers(), help="Of the internal hypernetworks, 50,50.  [default: linear]"),
    click.option("--hypernet-bias/--no-hypernet-bias", default=None, help="Biases in the internal hypernetworks."),
    click.option("--activation", type=click.Choice(["relu", "tanh", "sigmoid", "elu", "none"]), help="[default: relu]"),
)
DESCRIBES = (
    *("members", "network", "classes", "image", "feature_maps", "conv_bias", "output_bias", "recipe", "generate"),
    *("chunking", "embedding_sizes", "hidden_layers", "hypernet_bias", "activation"),
)
OF_STATE_DICTS = ("statistics", "hnet_prefix", "mnet_prefix")
INPUT = (
    click.option("--image-layout", type=click.Choice(["nchw", "nhwc", "flat-hwc"]), help="Axes of the graph's image."),
    click.option("--preprocess", type=click.Choice(["uint8"]), help="Take raw pixels and normalise in the graph."),
    click.option("--mean", type=Numbers(), help="With --preprocess: one a channel, of pixels scaled to 0 … 1."),
    click.option("--std", type=Numbers(), help="With --preprocess: one a channel."),
)


def build_options(function: F) -> F:
    """Where the weights come from, what to build or what is known about a hypnettorch ensemble, and the image input."""
    return _with((*SOURCES, *SPECIFICATION, *INPUT), function)


def convert_options(function: F) -> F:
    """Where the state dicts are, what is known about them, and the image input."""
    return _with((*STATE_DICTS, *SPECIFICATION, *INPUT), function)


def checkpoint(options: Mapping[str, Any]) -> "Checkpoint":
    """The checkpoint that a command line asks for.

    Raises:
        click.UsageError: the options contradict each other.
        HnexportError: the specification is not valid, or a file cannot be read.
    """
    from hnexport.networks.wide_resnet.checkpoints import load_checkpoint

    sources = [name for name in ("checkpoint", "hypnettorch", "hnet") if options[name] is not None]
    if len(sources) > 1:
        raise click.UsageError(f"--{sources[0]} and --{sources[1]} are two sources of weights: give one")
    if options["seed"] is not None and sources:
        raise click.UsageError("--seed is for random weights")
    if sources == ["checkpoint"]:
        given = [name for name in (*DESCRIBES, *OF_STATE_DICTS) if options[name] not in (None, ())]
        if given:
            flag = given[0].replace("_", "-")
            raise click.UsageError(f"a native checkpoint holds its whole specification: leave out --{flag}")
        return _with_input(load_checkpoint(options["checkpoint"]), options)
    if sources:
        return imported(options["hypnettorch"], options)
    for name in ("mnet", *OF_STATE_DICTS):
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --hnet or --hypnettorch")
    return _with_input(_random(options), options)


def imported(path: Path | None, options: Mapping[str, Any]) -> "Checkpoint":
    """A hypnettorch ensemble from one file, or from `--hnet` and `--mnet`, behind the image input that is asked for.

    Raises:
        click.UsageError: the options contradict each other.
        HnexportError: a file cannot be read, or contradicts the options.
    """
    from hnexport.networks.wide_resnet.checkpoints import load_hypnettorch

    files = {name: options[name] for name in ("hnet", "mnet", "hnet_prefix", "mnet_prefix")}
    found = load_hypnettorch(path, **files, overrides=_overrides(options))
    return _with_input(found, options)


def loaded(path: Path) -> "Checkpoint":
    """A native checkpoint; see `native.load_checkpoint`."""
    from hnexport.networks.wide_resnet.checkpoints import load_checkpoint

    return load_checkpoint(path)


def recalibrated(checkpoint: "Checkpoint", images: Any, batch_size: int, progress: Progress) -> "Recalibration":
    """With statistics of each member; see `recalibration.recalibrate`."""
    import torch

    from hnexport.networks.wide_resnet.checkpoints import recalibrate

    return recalibrate(checkpoint, torch.from_numpy(images), batch_size=batch_size, progress=progress)


def check_target(path: Path, *, replace: bool) -> None:
    """Refuse before the work what `save` would refuse after it; see `native.check_checkpoint_target`."""
    from hnexport.networks.wide_resnet.checkpoints import check_checkpoint_target

    check_checkpoint_target(path, replace=replace)


def save(path: Path, checkpoint: "Checkpoint", *, replace: bool) -> None:
    """Write a native checkpoint; see `native.save_checkpoint`."""
    from hnexport.networks.wide_resnet.checkpoints import save_checkpoint

    save_checkpoint(path, checkpoint, replace=replace)


def _with(options: Iterable[Callable[[F], F]], function: F) -> F:
    for option in reversed(tuple(options)):
        function = option(function)
    return function


def _with_input(checkpoint: "Checkpoint", options: Mapping[str, Any]) -> "Checkpoint":
    """The checkpoint behind the image input that `--image-layout` and `--preprocess` ask for."""
    from hnexport.networks.wide_resnet.spec import ImageLayout

    layout = options["image_layout"]
    return checkpoint.with_input(image_layout=ImageLayout(layout) if layout else None, preprocess=_preprocess(options))


def _preprocess(options: Mapping[str, Any]) -> "PreprocessSpec | None":
    from hnexport.networks.wide_resnet.spec import PreprocessSpec

    mean, std = options["mean"], options["std"]
    if options["preprocess"] is None:
        if mean or std:
            raise click.UsageError("--mean and --std go with --preprocess uint8")
        return None
    if not (mean and std):
        raise click.UsageError("--preprocess uint8 needs --mean and --std, one number a channel")
    return PreprocessSpec(mean=mean, std=std)


def _random(options: Mapping[str, Any]) -> "Checkpoint":
    from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
    from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, WideResNetSpec
    from hnexport.spec import Activation, Chunking, HypernetSpec, Source

    if options["members"] is None:
        raise click.UsageError("give --members, or a trained ensemble with --hypnettorch or --checkpoint")
    name = options["network"] or "wrn-28-10"
    changes = _given(options, "conv_bias", "output_bias", "feature_maps")
    network = WideResNetSpec.from_name(name, classes=_or(options["classes"], 10), image=_image(options), **changes)
    recipe = _recipe(options) or RECIPES["hypernet"]
    hypernet = None
    if Source.GENERATED in recipe.sources:
        hypernet = HypernetSpec(
            chunking=Chunking(options["chunking"] or "published"),
            embedding_sizes=options["embedding_sizes"],
            hidden_layers=options["hidden_layers"] or (),
            bias=bool(options["hypernet_bias"]),
            activation=Activation(options["activation"] or "relu"),
        )
    else:
        for flag in ("chunking", "embedding_sizes", "hidden_layers", "hypernet_bias", "activation"):
            if options[flag] is not None:
                raise click.UsageError(f"--{flag.replace('_', '-')} needs the recipe hypernet")
    spec = PipelineSpec(network=network, members=options["members"], recipe=recipe, hypernet=hypernet)
    return random_checkpoint(spec, _or(options["seed"], 0))


def _overrides(options: Mapping[str, Any]) -> "HypnettorchOverrides":
    from hnexport.networks.wide_resnet.checkpoints import HypnettorchOverrides
    from hnexport.spec import Activation, Chunking

    given = _given(options, "network", "members", "classes", "feature_maps", "conv_bias", "output_bias")
    given |= _given(options, "embedding_sizes", "hidden_layers", "hypernet_bias", "statistics")
    if options["image"] is not None:
        image = _image(options)
        given |= {"image_channels": image.channels, "image_height": image.height, "image_width": image.width}
    if options["chunking"] is not None:
        given["chunking"] = Chunking(options["chunking"])
    if options["activation"] is not None:
        given["activation"] = Activation(options["activation"])
    return HypnettorchOverrides(recipe=_recipe(options), **given)


def _recipe(options: Mapping[str, Any]) -> "Recipe | None":
    from hnexport.networks.wide_resnet.spec import RECIPES, Recipe
    from hnexport.spec import Source

    if options["recipe"] is None and not options["generate"]:
        return None
    base, generated = RECIPES[options["recipe"] or "hypernet"], options["generate"]
    if generated and Source.GENERATED not in base.sources:
        raise click.UsageError("--generate needs the recipe hypernet")
    return Recipe(
        convolution=base.convolution,
        norm=Source.GENERATED if "norm" in generated else base.norm,
        output=Source.GENERATED if "output" in generated else base.output,
    )


def _image(options: Mapping[str, Any]) -> "ImageSpec":
    from hnexport.networks.wide_resnet.spec import ImageSpec

    shape = options["image"] or (3, 32, 32)
    if len(shape) != 3:
        raise click.BadParameter("give channels, height and width, for instance 3,32,32", param_hint="--image")
    return ImageSpec(channels=shape[0], height=shape[1], width=shape[2])


def _given(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
