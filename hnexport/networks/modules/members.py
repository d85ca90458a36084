"""One module of a list: what it is, the mode it is in, and the tensors that it holds."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from hnexport.dotted import named_tensors
from hnexport.errors import SpecError
from hnexport.networks.modules.tensors import check_dense
from hnexport.programs.tracing import is_scripted

__all__ = ["check_finite", "check_module", "on_cpu", "owners", "place"]


def check_module(where: str, module: object) -> nn.Module:
    """A module that can be exported as it is.

    Raises:
        SpecError: it is no module or a wrapper around one, is in training mode, or holds tensors without elements.
    """
    if not isinstance(module, nn.Module):
        raise SpecError(f"{where} is of type {type(module).__name__}, no torch.nn.Module: give the network itself")
    if isinstance(module, DataParallel | DistributedDataParallel):
        raise SpecError(f"{where} is wrapped in {type(module).__name__}: give what is in it, `net.module`")
    for name, part in module.named_modules():
        if is_scripted(part):
            raise SpecError(f"{where}{_at(name)} is TorchScript already: give the module that it was made from")
        if isinstance(part, torch._dynamo.eval_frame.OptimizedModule):
            raise SpecError(f"{where}{_at(name)} is compiled: give the module before torch.compile, `net._orig_mod`")
        if getattr(part, "_compiled_call_impl", None) is not None:
            raise SpecError(f"{where}{_at(name)} is compiled in place: give a module on which compile() was not called")
    training = [(name, part) for name, part in module.named_modules() if part.training]
    if training:
        name, part = training[-1] if len(training) < 2 or training[0][0] else training[0]
        inside = f", with {len(training) - 1} of its modules" if len(training) > 1 else ""
        what = f"{where}{_at(name)} ({type(part).__name__})"
        raise SpecError(f"{what} is in training mode{inside}: call net.eval() on every module first")
    for name, tensor in named_tensors(module).items():
        check_dense(f"{where}: {name}", tensor)
    return module


def on_cpu(where: str, module: nn.Module) -> nn.Module:
    """The module itself where it is on the CPU; else a copy that is.

    Raises:
        SpecError: it cannot be copied.
    """
    elsewhere = next(((n, t) for n, t in named_tensors(module).items() if t.device.type != "cpu"), None)
    if elsewhere is None:
        return module
    import copy

    try:
        return copy.deepcopy(module).cpu()
    except Exception as error:
        name, tensor = elsewhere
        raise SpecError(
            f"{where}: {name} is on {tensor.device}, and the module cannot be copied ({error}): call net.cpu() first"
        ) from error


def owners(module: nn.Module) -> dict[str, str]:
    """For every name of a tensor the first name of the same tensor: others are tied to it."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in named_tensors(module).items()}


def check_finite(where: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Infinity is fine in a buffer (a mask), in a parameter it is a fault; NaN always is.

    Raises:
        SpecError: a tensor holds what it must not.
    """
    for name, tensor in tensors:
        if not tensor.is_floating_point():
            continue
        wrong = ~tensor.isfinite() if isinstance(tensor, nn.Parameter) else tensor.isnan()
        if wrong.any():
            raise SpecError(
                f"{where}: {name} is NaN or infinite in {int(wrong.sum())} of its {tensor.numel()} elements: "
                "the training diverged, or a checkpoint is damaged"
            )


def place(path: str, kind: str) -> str:
    """Where in a module something is, for messages."""
    return f"{path} ({kind})" if path else f"its forward ({kind})"


def _at(name: str) -> str:
    return f": {name}" if name else ""
