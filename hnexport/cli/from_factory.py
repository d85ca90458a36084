"""`hnexport build --from`: a user's own function says what to build, or (`evaluate`) what was built."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hnexport.cli.bases import BASES
from hnexport.cli.options import with_options
from hnexport.cli.usage import USAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hnexport.ensemble import Ensemble
    from hnexport.factories.described import InputText
    from hnexport.families import Checkpoint

__all__ = [
    "apart",
    "check_without",
    "ensemble_of_bundle",
    "factory_options",
    "given_samples",
    "source",
    "source_options",
]

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
OPTIONS = (
    click.option(
        "--from",
        "factory",
        metavar="MODULE:NAME|FILE.py:NAME",
        help="A function of yours that returns an ensemble, a list of modules, (hypernet, network), (module, recipe), "
        "or a module forward(cond_id, …). Your file is run, with all your rights, like `python FILE`.",
    ),
    click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="For the function of --from."),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=DTYPE[SIZE,…]",
        help="What forward takes: image=float32[batch,3,32,32], tokens=int64[batch,time=16]:0..999; an axis with a "
        "name has any size.",
    ),
    click.option(
        "--output", "outputs", multiple=True, metavar="NAME[=logits[:AXIS]]", help="What forward returns, and means."
    ),
    click.option(
        "--samples", type=FILE, help="A safetensors file of inputs by name, to verify with instead of random ones."
    ),
)
WITH_FACTORY = ("members", "seed", "checkpoint")
"""Of the options that describe an ensemble those that go with a factory too."""
_GENERAL = (
    "formats",
    "provider",
    "verify_members",
    "out",
    "force",
    "wide",
    "as_json",
    "reference",
    *BASES,
    *USAGE,
)


def factory_options(function: F) -> F:
    """Where the factory is, its arguments, and what it does not say."""
    return with_options(function, OPTIONS)


def source(options: Mapping[str, Any], samples: "Mapping[str, NDArray[Any]] | None") -> "Ensemble | Checkpoint":
    """What the factory makes.

    Raises:
        click.UsageError: options do not go together.
        HnexportError: the factory failed, or what it returns makes no ensemble.
    """
    from hnexport.factories.described import read_input, read_outputs
    from hnexport.factories.loading import called
    from hnexport.factories.made import Asked, is_returned, source_of

    _check_alone()
    inputs = [read_input(text) for text in options["inputs"]]
    examples, axes = _examples(inputs, samples)
    asked = Asked(
        example_inputs=examples,
        dynamic_axes=axes,
        outputs=read_outputs(options["outputs"]),
        members=options["members"],
        weights=options["checkpoint"],
        seed=options["seed"],
    )
    value = called(options["factory"], _arguments(options["arguments"]), is_returned)
    return source_of(options["factory"], value, asked)


def source_options(function: F) -> F:
    """Where the factory of a bundle that is there already is: the bundle says the rest."""
    return with_options(
        function,
        (
            click.option(
                "--from",
                "factory",
                metavar="MODULE:NAME|FILE.py:NAME",
                help="With --runtimes: the function that the bundle was built from; what it returns is the reference "
                "in float64. Your file is run, with all your rights, like `python FILE`.",
            ),
            click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="For the function of --from."),
            click.option("--checkpoint", type=FILE, help="The stored tensors of a module with a recipe, for --from."),
        ),
    )


def ensemble_of_bundle(bundle: Path, factory: str, arguments: tuple[str, ...], checkpoint: Path | None) -> "Ensemble":
    """What a bundle was built from, by its factory.

    Raises:
        HnexportError: the bundle cannot be read, the factory failed, or what it returns makes no ensemble.
    """
    from hnexport.bundle.manifest import read_manifest
    from hnexport.evaluate.again import ensemble_again

    return ensemble_again(factory, _arguments(arguments), bundle, read_manifest(bundle), weights=checkpoint)


def apart(as_json: bool) -> AbstractContextManager[object]:
    """What a user's code prints does not stand beside the JSON."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def check_without(options: Mapping[str, Any]) -> None:
    """Refuse what goes with a factory where none is named.

    Raises:
        click.UsageError: an option does.
    """
    for name, flag in (
        ("arguments", "--arg"),
        ("inputs", "--input"),
        ("outputs", "--output"),
        ("samples", "--samples"),
    ):
        if options[name]:
            raise click.UsageError(f"{flag} goes with --from")


def given_samples(path: Path | None) -> "Mapping[str, NDArray[Any]] | None":
    """The arrays of `--samples`, by input.

    Raises:
        click.UsageError: the file cannot be read, or holds nothing.
    """
    import safetensors.numpy
    from safetensors import SafetensorError

    if path is None:
        return None
    try:
        found: Mapping[str, NDArray[Any]] = safetensors.numpy.load_file(path)
    except (OSError, SafetensorError, TypeError) as error:
        raise click.UsageError(f"--samples {path}: no safetensors file that numpy can hold ({error})") from error
    if not found:
        raise click.UsageError(f"--samples {path}: it holds no tensors")
    return found


def _check_alone() -> None:
    """The options that describe a network say nothing of one that a factory makes."""
    context = click.get_current_context()
    known = {"factory", "arguments", "inputs", "outputs", "samples", *WITH_FACTORY, *_GENERAL}
    for parameter in context.command.params:
        name = str(parameter.name)
        said = context.get_parameter_source(name)
        if name not in known and said is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--from says what to build: leave out {parameter.opts[0]}")


def _arguments(texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (separator and name.isidentifier()):
            raise click.UsageError(f"--arg {text}: expected NAME=VALUE")
        if name in found:
            raise click.UsageError(f"--arg {name}: given twice")
        found[name] = value
    return found


def _examples(inputs: "list[InputText]", samples: "Mapping[str, NDArray[Any]] | None") -> tuple[Any, Any]:
    """As `--input` describes them; otherwise the first two samples. The values of both are the samples' where given."""
    import torch

    from hnexport.factories.described import examples

    arrays = samples or {}
    given = {name: torch.from_numpy(array[:2]) for name, array in arrays.items()}
    if not inputs:
        return given or None, None
    made, axes = examples(inputs)
    if samples is not None:
        _check_fit(made, axes, samples)
    for name, example in made.items():
        if name in arrays and not axes[name]:  # one value, or of a condition several
            array = arrays[name]
            given[name] = torch.from_numpy(array[0] if array.ndim == example.dim() + 1 and len(array) else array)
    return {name: given.get(name, example) for name, example in made.items()}, axes


def _check_fit(
    made: "Mapping[str, Tensor]", axes: Mapping[str, Mapping[int, str]], samples: "Mapping[str, NDArray[Any]]"
) -> None:
    """What `--samples` holds has to be what `--input` says."""
    if set(samples) != set(made):
        raise click.UsageError(f"the samples are of {', '.join(samples)}, --input describes {', '.join(made)}")
    for name, example in made.items():
        shape = [axes[name].get(axis, size) for axis, size in enumerate(example.shape)]
        dtype, found = str(example.dtype).removeprefix("torch."), samples[name]
        several = not axes[name] and found.ndim == len(shape) + 1  # values of a condition, one after the other
        sizes = found.shape[1:] if several else found.shape
        fits = len(shape) == len(sizes) and all(
            isinstance(size, str) or size == own for size, own in zip(shape, sizes, strict=True)
        )
        if found.dtype.name != dtype or not fits:
            raise click.UsageError(
                f"the samples of {name} are {found.dtype.name} {list(found.shape)}, --input says {dtype} "
                f"[{', '.join(map(str, shape))}]"
            )
