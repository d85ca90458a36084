"""How a command line describes a Wide ResNet ensemble: its options, and the checkpoint that they ask for.

Random weights, an ensemble of hypnettorch or of the late-phase code, or a native checkpoint. Importing it needs click
alone, so that `--help` answers at once; the commands reach it through `hnexport.families.command_line`.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.networks.wide_resnet.option_table import (
    DESCRIBES,
    INPUT,
    OF_STATE_DICTS,
    SOURCES,
    SPECIFICATION,
    STATE_DICTS,
)
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
    "inspected",
    "loaded",
    "recalibrated",
    "save",
]

F = TypeVar("F", bound=Callable[..., Any])


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
    sources = [name for name in ("checkpoint", "hypnettorch", "hnet") if options[name] is not None]
    if len(sources) > 1:
        raise click.UsageError(f"--{sources[0]} and --{sources[1]} are two sources of weights: give one")
    if options["seed"] is not None and sources:
        raise click.UsageError("--seed is for random weights")
    if sources == ["checkpoint"]:
        return _with_input(_of_file(options["checkpoint"], options), options)
    if sources:
        return imported(options["hypnettorch"], options)
    for name in ("mnet", *OF_STATE_DICTS):
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} goes with --hnet or --hypnettorch")
    _refuse_average(options)
    return _with_input(_random(options), options)


def imported(path: Path | None, options: Mapping[str, Any]) -> "Checkpoint":
    """An ensemble of other code from one file, or from `--hnet` and `--mnet`, behind the image input that is asked for.

    Raises:
        click.UsageError: the options contradict each other.
        HnexportError: a file cannot be read, or contradicts the options.
    """
    from hnexport.networks.wide_resnet.checkpoints import is_late_phase, is_native, load_hypnettorch

    if path is not None and is_native(path):
        raise click.UsageError(
            f"{path} is a native checkpoint already: `hnexport build --checkpoint {path}` takes it as it is, with "
            "--mean, --std, --labels and --license too"
        )
    if path is not None and is_late_phase(path):
        return _with_input(_late_phase(path, options), options)
    _refuse_average(options)
    files = {name: options[name] for name in ("hnet", "mnet", "hnet_prefix", "mnet_prefix")}
    found = load_hypnettorch(path, **files, overrides=_overrides(options))
    return _with_input(found, options)


def inspected(path: Path) -> "tuple[str, Checkpoint]":
    """What a checkpoint file is, in words, and the checkpoint that is read from it with nothing said about it.

    Raises:
        HnexportError: it cannot be read.
    """
    from hnexport.networks.wide_resnet.checkpoints import (
        is_late_phase,
        is_native,
        load_checkpoint,
        load_hypnettorch,
        load_late_phase,
    )

    if is_native(path):
        return "a native checkpoint", load_checkpoint(path)
    if is_late_phase(path):
        return "a late-phase state dict", load_late_phase(path)
    return "hypnettorch's state dicts", load_hypnettorch(path)


def loaded(path: Path) -> "Checkpoint":
    """A native checkpoint; see `native.read_checkpoint`."""
    from hnexport.networks.wide_resnet.checkpoints.native import read_checkpoint

    return read_checkpoint(path)


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


def _of_file(path: Path, options: Mapping[str, Any]) -> "Checkpoint":
    """A native checkpoint, or another that its names say."""
    from hnexport.networks.wide_resnet.checkpoints import is_late_phase, is_native, load_checkpoint

    if not is_native(path) and is_late_phase(path):
        return _late_phase(path, options)
    _refuse(options, (*DESCRIBES, *OF_STATE_DICTS), "a native checkpoint holds its whole specification")
    _refuse_average(options)
    return load_checkpoint(path)


def _late_phase(path: Path, options: Mapping[str, Any]) -> "Checkpoint":
    from hnexport.networks.wide_resnet.checkpoints import load_late_phase

    others = [name for name in (*DESCRIBES, *OF_STATE_DICTS) if name not in ("image", "mnet_prefix")]
    _refuse(options, others, "a late-phase state dict says all but the size of its images")
    return load_late_phase(
        path,
        prefix=options["mnet_prefix"],
        average_members=options["average_members"],
        image=None if options["image"] is None else _image(options),
    )


def _refuse(options: Mapping[str, Any], names: Iterable[str], reason: str) -> None:
    for name in names:
        if options[name] not in (None, ()):
            raise click.UsageError(f"{reason}: leave out --{name.replace('_', '-')}")


def _refuse_average(options: Mapping[str, Any]) -> None:
    if options["average_members"]:
        raise click.UsageError("--average-members goes with a late-phase state dict")


def _with(options: Iterable[Callable[[F], F]], function: F) -> F:
    for option in reversed(tuple(options)):
        function = option(function)
    return function


def _with_input(checkpoint: "Checkpoint", options: Mapping[str, Any]) -> "Checkpoint":
    """The checkpoint behind the image input that `--image-layout` and `--preprocess` ask for."""
    from hnexport.networks.wide_resnet.spec import ImageLayout

    layout = options["image_layout"]
    preprocess = None if options["preprocess"] is None else _preprocess(checkpoint, options)
    return checkpoint.with_input(image_layout=ImageLayout(layout) if layout else None, preprocess=preprocess)


def _preprocess(checkpoint: "Checkpoint", options: Mapping[str, Any]) -> "PreprocessSpec":
    """With `--mean` and `--std`, or as the checkpoint says."""
    from hnexport.networks.wide_resnet.spec import PreprocessSpec

    mean, std, said = options["mean"], options["std"], checkpoint.usage.normalisation
    if mean is None and std is None and said is not None:
        channels = checkpoint.spec.network.image.channels
        mean, std = (values * (channels if len(values) == 1 else 1) for values in (said.mean, said.std))
    if not (mean and std):
        raise click.UsageError("--preprocess uint8 needs --mean and --std, one number a channel")
    return PreprocessSpec(mean=mean, std=std)


def _random(options: Mapping[str, Any]) -> "Checkpoint":
    from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
    from hnexport.networks.wide_resnet.spec import RECIPES, PipelineSpec, ShortcutInput, WideResNetSpec
    from hnexport.spec import Activation, Chunking, HypernetSpec, Source

    if options["members"] is None:
        raise click.UsageError("give --members, or a trained ensemble with --hypnettorch or --checkpoint")
    name = options["network"] or "wrn-28-10"
    changes = _given(options, "conv_bias", "output_bias", "feature_maps")
    changes["shortcut_input"] = ShortcutInput(options["shortcut_input"] or "raw")
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

    if options["shortcut_input"] == "preactivated":
        raise click.UsageError("hypnettorch's shortcuts are raw: leave out --shortcut-input")
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
