"""Options and parameter types that several commands share."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from hnexport.number_lists import Integers, Numbers

__all__ = [
    "Integers",
    "NamedFile",
    "NumberRange",
    "Numbers",
    "UntilRule",
    "bundle_argument",
    "digest_option",
    "json_option",
    "members_option",
    "named_members",
    "precision_option",
    "provider_option",
    "strategy_option",
    "trust_option",
    "wide_option",
    "with_options",
]

F = TypeVar("F", bound=Callable[..., Any])


def with_options(function: F, options: Sequence[Callable[[F], F]]) -> F:
    """A command with further options; its help lists them in their order."""
    for option in reversed(options):
        function = option(function)
    return function


class NamedFile(click.ParamType[tuple[str, Path]]):
    """`NAME=FILE`, as a name and a path; the file may have further `=` in its name."""

    name = "named file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """Parse `tokens=tokens.npy`."""
        if isinstance(value, tuple):
            return value
        name, separator, path = value.partition("=")
        if not (name and separator and path):
            self.fail(f"{value!r} is not NAME=FILE, for instance tokens=tokens.npy", param, ctx)
        return name, Path(path)


class NumberRange(click.FloatRange):
    """A number between bounds. NaN is none: every comparison with it fails, so that nothing would ever be over it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse `0.005`."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number

    def _describe_range(self) -> str:
        """For the help: nothing where there are no bounds, of which click would say that it is at most None."""
        return "any number" if self.min is None and self.max is None else super()._describe_range()


class UntilRule(click.ParamType[Any]):
    """`exact`, `votes`, `bundle` or a probability, as `LoadedEnsemble.predict_mean` takes it."""

    name = "rule"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse `0.8` into an `Until`; `bundle` stays what it is."""
        if value == "bundle":
            return value
        from hnexport.errors import RuntimeInputError
        from hnexport.runtime.until import as_until

        try:
            return as_until(_number(value) if isinstance(value, str) else value)
        except RuntimeInputError as error:
            self.fail(str(error), param, ctx)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def bundle_argument(function: F) -> F:
    """`BUNDLE`: a bundle directory."""
    return click.argument("bundle", type=click.Path(path_type=Path))(function)


def json_option(function: F) -> F:
    """`--json`: machine-readable output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(function)


def wide_option(function: F) -> F:
    """`--wide`: every column of a table, however long its lines become."""
    return click.option("--wide", is_flag=True, help="Show every column, however long the lines become.")(function)


def provider_option(function: F) -> F:
    """`--provider`: where onnxruntime and PyTorch compute."""
    return click.option(
        "--provider",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="cpu, cuda, tensorrt, webgpu or another that onnxruntime has (`hnexport doctor` lists them). auto takes "
        "CUDA where it works, else the CPU; one asked for by name is never replaced silently.",
    )(function)


def precision_option(function: F) -> F:
    """`--precision`: by which tolerance to judge."""
    return click.option(
        "--precision",
        type=click.Choice(["float32", "tf32", "float16", "bfloat16"]),
        default="float32",
        show_default=True,
        help="By which tolerance to judge; tf32 also turns TF32 on, which is otherwise off.",
    )(function)


def strategy_option(function: F) -> F:
    """`--strategy`: where members' weights are while they predict."""
    return click.option(
        "--strategy",
        type=click.Choice(["auto", "materialised", "folded", "generated"]),
        help="Where a member's weights are: kept as a plain network, beside tuned graphs, or made in every call.",
    )(function)


def members_option(function: F) -> F:
    """`--members` of commands that verify."""
    return click.option(
        "--members",
        type=Integers(accepts_all=True),
        help="Members to compare, for instance 2,3,7 or all. Default: all up to 32, above that a seeded sample.",
    )(function)


def named_members(members: tuple[int, ...] | None, bundle: Path) -> tuple[int, ...] | None:
    """What `--members` stands for: `all` is every member of the bundle, None leaves the choice to the library."""
    from hnexport.bundle.manifest import read_manifest

    return tuple(range(read_manifest(bundle).members)) if members == () else members


def digest_option(function: F) -> F:
    """`--digest`: which bundle it must be."""
    return click.option(
        "--digest",
        metavar="sha256:…",
        help="Refuse any other bundle than the one with this digest, as build and inspect print it.",
    )(function)


def trust_option(function: F) -> F:
    """`--trust`: whose programs may run in this process."""
    return click.option(
        "--trust",
        is_flag=True,
        help="TorchScript and .pt2 files are programs: run them in this process though this user did not build them. "
        "Without it, a stranger's run confined, or not at all.",
    )(function)
