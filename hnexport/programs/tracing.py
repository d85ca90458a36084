"""One way to call `torch.export`: which axes have any size, which warnings are errors, and what a forward may write.

What is left of `torch.jit`, which PyTorch has deprecated, is asked for here, so that hnexport works without it.
"""

import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from typing import Any, TextIO

import torch
from torch import Tensor, nn
from torch._dynamo.exc import Unsupported
from torch.export import Dim, ExportedProgram

from hnexport.errors import CaptureError
from hnexport.programs.attention import plain_attention
from hnexport.text import shorten

__all__ = [
    "dynamic_shapes",
    "exported",
    "exporters_warnings",
    "has_torchscript",
    "is_scripted",
    "without_torchscript",
]

_ASSIGNED = "The tensor attribute"
_GRADIENT = r"The \.grad attribute of a Tensor that is not a leaf"  # where `torch.cond` is captured
_SLOW_GUARDS = "Guards may run slower on Python"  # of 3.13.0; nothing here runs guards
_NOISY = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor", "torch.export")


def exported(
    module: nn.Module, positional: tuple[Tensor, ...], named: Mapping[str, Tensor], shapes: Any
) -> ExportedProgram:
    """A module as a program.

    Raises:
        CaptureError: forward reads an attribute that it wrote in the call before.
        Exception: whatever `torch.export` raises, and a `TracerWarning`.
    """
    with plain_attention(), exporters_warnings(), _quiet(), warnings.catch_warnings(record=True) as found:
        warnings.filterwarnings("always", _ASSIGNED)
        program = _exported(module, positional, dict(named), shapes)
    for item in found:
        if not str(item.message).startswith(_ASSIGNED):
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
            continue
        for name in re.findall(r"self\.([\w.]*\w)", str(item.message).partition(" assigned")[0]):
            if name in program.constants:
                raise CaptureError(
                    f"forward writes its attribute {name} and reads it in the next call: a file keeps nothing between "
                    "two calls; compute it without the attribute"
                )
    return program


def _exported(
    module: nn.Module, positional: tuple[Tensor, ...], named: dict[str, Tensor], shapes: Any
) -> ExportedProgram:
    """Once more from a clean state, where what this process compiled before is in the way of `torch.cond`.

    PyTorch 2.13 then says "Attempted to inline function marked as skipped".
    """
    try:
        return torch.export.export(module, positional, named, dynamic_shapes=shapes)
    except Unsupported as error:
        logging.getLogger(__name__).info("exporting once more, after a reset of torch.compile: %s", shorten(error))
    torch.compiler.reset()
    return torch.export.export(module, positional, named, dynamic_shapes=shapes)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter writes before it raises is its own dump of a graph: the error says what there is to say."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(_WithoutGraphs(sys.stderr)) if sys.stderr is not None else nullcontext():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _WithoutGraphs:
    """A stream that leaves out printed graphs, and the line's end that follows one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._dropped = stream, False

    def write(self, text: str) -> int:
        is_graph = "torch.ops." in text
        if not is_graph and not (self._dropped and text == "\n"):
            self._stream.write(text)
        self._dropped = is_graph
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def dynamic_shapes(names: Iterable[str], dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, Any]:
    """For each input its axes of any size, as `torch.export` wants them: one `Dim` for each name of an axis."""
    dims = {name: Dim(name, min=1) for axes in dynamic.values() for name in axes.values()}
    return {name: {axis: dims[of] for axis, of in dynamic.get(name, {}).items()} or None for name in names}


@contextmanager
def exporters_warnings() -> Iterator[None]:
    """A tracer's warning means that the graph may not be the program: make it an error.

    What PyTorch deprecates is its own affair. So are attributes that a forward only keeps: recurrent layers and weight
    norm do so in every call.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", _ASSIGNED, UserWarning)
        warnings.filterwarnings("ignore", _GRADIENT, UserWarning)
        warnings.filterwarnings("ignore", _SLOW_GUARDS, RuntimeWarning)
        tracers = getattr(_jit(), "TracerWarning", None)
        if tracers is not None:
            warnings.simplefilter("error", tracers)
        yield


def has_torchscript() -> bool:
    """Whether this PyTorch can write and read TorchScript."""
    return all(hasattr(_jit(), name) for name in ("script", "load"))


def is_scripted(module: object) -> bool:
    """Whether a module is TorchScript."""
    return has_torchscript() and isinstance(module, _jit().ScriptModule)


def without_torchscript(remedy: str) -> str:
    """The sentence where TorchScript is asked for and PyTorch has none."""
    return f"PyTorch {torch.__version__} has no TorchScript any more: {remedy}"


def _jit() -> Any:
    return getattr(torch, "jit", None)
