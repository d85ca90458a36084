"""A PyTorch program `(cond_id, inputs) -> outputs`, whatever types, batch sizes and outputs it has: found by trying.

TorchScript declares neither types nor sizes, and a trace may have any size baked in.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hnexport.errors import ParityError
from hnexport.parity.batches import said
from hnexport.parity.limits import Limits
from hnexport.parity.matching import match_outputs, match_summaries
from hnexport.parity.own_signature import signature_faults
from hnexport.parity.signature import Declared, GraphSignature, narrow_of
from hnexport.parity.tolerances import CUDNN_RECURRENT_FLOOR, FUNCTIONS_FLOOR
from hnexport.parity.torch_calls import find_call, has_recurrent, named_outputs
from hnexport.spec import BATCH, TensorSpec

__all__ = ["TorchProgram"]

USUAL_SIZES = (1, 3, 6)
# Sizes that a program is tried with where it refuses one of the usual ones, besides those that its refusal names.
TRIED_SIZES = (*range(1, 17), 24, 32, 48, 64, 96, 128, 256)
_LARGEST_TRIED = 1024
_NUMBER = re.compile(r"\d+")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_OPEN_SIZE = 8  # of an open axis of which no sample is known

Dtypes = tuple[torch.dtype, ...]


class TorchProgram:
    """A loaded program with the bundle's signature."""

    def __init__(self, name: str, module: torch.nn.Module, signature: GraphSignature, device: str) -> None:
        """Find out how the program is called.

        Raises:
            SignatureError: it takes other inputs than the bundle's, or returns other outputs.
            ParityError: it runs with none that was tried.
        """
        self._name, self._signature, self._device = name, signature, device
        self._wanted = signature.inputs[1:]
        self._call = find_call(name, module, signature)
        self._refusal: Exception | None = None
        self._answered: Mapping[str, Tensor] = {}  # to the last batch that it ran
        self._named, self._fill = False, 0  # zeros, and ones for a program that refuses them, as lengths
        self._id_axes, self._dtypes, sizes = self._fitting()
        outputs, ordered = self._answered, not self._named
        declared = [_declared(key, value) for key, value in outputs.items()]
        found = match_summaries(declared, signature)
        together = found is not None
        if found is None:
            found = match_outputs(name, declared, signature, ordered=ordered)
        self._positions = found
        specs = signature.summaries if together else signature.outputs
        self._outputs = tuple(item.name for item in specs)
        batch_sizes, least_batch = self._batch_sizes(sizes)
        dtypes = dict(zip((item.name for item in self._wanted), map(_name, self._dtypes), strict=True))
        returned = {item.name: declared[at].dtype for item, at in zip(specs, found, strict=True)}
        self.limits = Limits(
            batch_sizes=batch_sizes,
            least_batch=least_batch,
            narrow=narrow_of({**dtypes, **returned}, (*self._wanted, *specs)),
            together=together,
            defaults=self._call.defaults,
            functions=CUDNN_RECURRENT_FLOOR if device == "cuda" and has_recurrent(module) else FUNCTIONS_FLOOR,
        )
        self.signature_faults = self._faults(declared)

    def __call__(self, cond_id: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of one member, or of several where it answers as an ensemble; bfloat16 as float32."""
        ids = cond_id if self.limits.together else cond_id.reshape([1] * self._id_axes)
        given = [inputs[item.name].to(dtype) for item, dtype in zip(self._wanted, self._dtypes, strict=True)]
        found = list(named_outputs(self._name, self._call.function([ids, *given]))[0].values())
        return {name: _widened(found[at]) for name, at in zip(self._outputs, self._positions, strict=True)}

    def _fitting(self) -> tuple[int, Dtypes, tuple[int, ...]]:
        """Axes of the id, types of the inputs and some batch sizes with which the program runs."""
        declared = self._call.batch_sizes
        ways = itertools.product(
            (0, 1),
            (lambda: (*declared, *USUAL_SIZES), self._named_sizes, lambda: TRIED_SIZES),
            self._candidates(),
            (0, 1),
        )
        for self._fill, tried, dtypes, axes in ways:
            sizes = tuple(size for size in tried() if self._runs(axes, dtypes, size))
            if sizes:
                return axes, dtypes, sizes
        reason = said(self._refusal) if self._refusal else "it raises no error"
        if self._signature.takes_images:
            shape = ", ".join(map(str, self._wanted[0].row))
            what, such = f"images [{shape}] of any floating-point type", "image"
        else:
            what, such = ", ".join(f"{item.name} {list(item.shape)}" for item in self._wanted), "input"
        raise ParityError(
            f"{self._name} runs with no batch of {what}: {reason}; "
            f"verify it with the bundle of that {such}, or export it for this one"
        )

    def _candidates(self) -> tuple[Dtypes, ...]:
        """Types of the inputs to try: what is declared, or the bundle's; all floats in another; pixels as floats."""
        if self._call.inputs:
            return (tuple(getattr(torch, str(item.dtype)) for item in self._call.inputs),)
        own: Dtypes = tuple(getattr(torch, item.dtype) for item in self._wanted)
        floating = [tuple(kind if item.is_floating_point else item for item in own) for kind in _FLOATS]
        pixels = [
            tuple(kind if item is torch.uint8 else item for item in one)
            for one, kind in zip(floating, _FLOATS, strict=True)
        ]
        return tuple(dict.fromkeys((own, *floating, *pixels)))

    def _batch_sizes(self, running: tuple[int, ...]) -> tuple[tuple[int, ...] | None, int]:
        """The sizes that run and the least of them; None for the sizes where every usual one from there does."""
        if set(USUAL_SIZES) <= set(running):
            return None, 1
        tried = (*TRIED_SIZES, *running, *self._named_sizes())
        sizes = sorted({size for size in tried if size in running or self._runs(self._id_axes, self._dtypes, size)})
        if set(sizes) >= {size for size in TRIED_SIZES if size >= sizes[0]}:
            return None, sizes[0]
        return tuple(sizes), sizes[0]

    def _named_sizes(self) -> Iterator[int]:
        """The numbers in what the program said when it refused: a baked size is often among them."""
        found = {int(number) for number in _NUMBER.findall(str(self._refusal or ""))[-200:] if len(number) <= 4}
        yield from sorted(size for size in found if 1 <= size <= _LARGEST_TRIED)

    def _runs(self, axes: int, dtypes: Dtypes, size: int) -> bool:
        try:
            self._answered, self._named = named_outputs(self._name, self._run_filled(size, axes, dtypes))
        except Exception as error:  # whatever a program raises: another size or type may suit it
            self._refusal = self._refusal or error
            return False
        return True

    def _run_filled(self, size: int, axes: int, dtypes: Dtypes) -> Any:
        cond_id = torch.zeros([1] * axes, dtype=torch.int64, device=self._device)
        given = [
            torch.full(self._shape(item, size), self._fill, dtype=dtype, device=self._device)
            for item, dtype in zip(self._wanted, dtypes, strict=True)
        ]
        with torch.inference_mode():
            return self._call.function([cond_id, *given])

    def _shape(self, item: TensorSpec, size: int) -> list[int]:
        sizes = {**self._signature.sizes, BATCH: size}
        return [axis if isinstance(axis, int) else sizes.get(axis, _OPEN_SIZE) for axis in item.shape]

    def _faults(self, returned: Sequence[Declared]) -> tuple[str, ...]:
        """How it departs from exactly the bundle's signature. Arguments go by position, so their names are free."""
        own = tuple(item.dtype for item in self._wanted)
        faults = [f"there is a further input, {name}" for name in self._call.defaults]
        if self._id_axes:
            faults.append("the condition id is no scalar")
        if tuple(map(_name, self._dtypes)) != own:
            faults.append(f"it takes {', '.join(map(_name, self._dtypes))}, expected {', '.join(own)}")
        if not self.limits.runs_any_batch:
            sizes = self.limits.batch_sizes or f"{self.limits.least_batch} or more"
            faults.append(f"it runs batches of {sizes}, expected any")
        expected = self._signature.outputs
        opened = [_opened(item, spec, named=self._named) for item, spec in zip(returned, expected, strict=False)]
        return (*faults, *signature_faults("output", [*opened, *returned[len(opened) :]], expected))


def _declared(name: str, value: Tensor) -> Declared:
    return Declared(name=name, dtype=_name(value.dtype), shape=tuple(value.shape))


def _opened(found: Declared, expected: TensorSpec, *, named: bool) -> Declared:
    """What was returned for some samples, with the names of the open axes in place of their sizes."""
    shape = found.shape or ()
    if len(shape) == len(expected.shape):
        shape = tuple(want if isinstance(want, str) else have for have, want in zip(shape, expected.shape, strict=True))
    return Declared(name=found.name if named else "", dtype=found.dtype, shape=shape)


def _widened(value: Tensor) -> Tensor:
    return value.float() if value.dtype == torch.bfloat16 else value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
