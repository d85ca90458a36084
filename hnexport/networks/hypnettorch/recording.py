"""Whether another member computes the same as the first: both are run once, and every operator is written down.

That is far cheaper than to capture a member. Where two recordings differ, or something cannot be told, nothing is said:
then that member is captured too.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from hnexport.dotted import named_tensors
from hnexport.networks.steps.reading import Read

__all__ = ["Recorded"]


class Recorded:
    """The first member: what was read of its capture, and what it does when it runs."""

    def __init__(self, first: Read, module: nn.Module, inputs: Mapping[str, Tensor]) -> None:
        self._first, self._inputs = first, inputs
        self._lines, self._used = _run(module, inputs)
        held = {id(tensor) for tensor in named_tensors(module).values()}
        position = {id(tensor): number for number, tensor in enumerate(self._used)}
        self._positions = [position.get(id(tensor)) for _, tensor in first.tensors]
        self._is_known = all(
            number is not None or id(tensor) not in held
            for number, (_, tensor) in zip(self._positions, first.tensors, strict=True)
        )

    def read(self, module: nn.Module) -> Read | None:
        """What a capture of another member would say; None where it may be something else."""
        if not self._is_known:
            return None
        try:
            lines, used = _run(module, self._inputs)
        except Exception:  # whoever captures it says why
            return None
        if lines != self._lines:
            return None
        tensors = [
            (name, tensor if number is None else used[number])
            for number, (name, tensor) in zip(self._positions, self._first.tensors, strict=True)
        ]
        return Read(lines=self._first.lines, tensors=tuple(tensors))


def _run(module: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[list[str], list[Tensor]]:
    """Every operator as text, and the module's tensors in the order in which they are first used."""
    recorder = _Recorder(module)
    with torch.no_grad(), recorder:
        outputs = module(**inputs)
    recorder.note("return", outputs)
    return recorder.lines, recorder.used


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self.used: list[Tensor] = []
        self._own = {id(tensor) for tensor in named_tensors(module).values()}
        self._texts: dict[int, str] = {}
        self._kept: list[Tensor] = []  # what is let go may give its id to another

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator, and write it down."""
        self.note(str(func), (args, kwargs or {}))
        outputs = func(*args, **(kwargs or {}))
        for number, tensor in enumerate(leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)):
            self._keep(tensor, f"value {len(self.lines)}.{number}")
        return outputs

    def note(self, what: str, values: Any) -> None:
        """Write down an operator and its arguments."""
        leaves, structure = pytree.tree_flatten(values)
        texts = [self._text(leaf) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves]
        self.lines.append(f"{what} {', '.join(texts)} {structure}")

    def _text(self, tensor: Tensor) -> str:
        if id(tensor) not in self._texts and id(tensor) in self._own:
            self.used.append(tensor)
            self._keep(tensor, f"tensor {len(self.used) - 1} {tensor.dtype} {list(tensor.shape)}")
        elif id(tensor) not in self._texts:
            content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
            self._keep(tensor, f"{tensor.dtype} {list(tensor.shape)} {hashlib.sha256(content).hexdigest()}")
        return self._texts[id(tensor)]

    def _keep(self, tensor: Tensor, text: str) -> None:
        self._texts.setdefault(id(tensor), text)
        self._kept.append(tensor)
