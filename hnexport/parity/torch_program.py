"""A PyTorch program as `(cond_id, image) -> logits`, whatever types, batch sizes and outputs it has: found by trying.

TorchScript declares neither types nor sizes, and a trace may have any size baked in.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hnexport.errors import ParityError
from hnexport.export.ensemble import ENSEMBLE_OUTPUTS
from hnexport.parity.batches import DEFAULT_BATCH_SIZES, said
from hnexport.parity.limits import Limits
from hnexport.parity.signature import ENSEMBLE_AXES, GraphSignature, check_image, check_logits, logits_output, narrow_of

__all__ = ["TorchProgram"]

# Sizes that a program is tried with where it refuses one of the usual ones, besides those that its refusal names.
TRIED_SIZES = (*range(1, 17), 24, 32, 48, 64, 96, 128, 256)
_LARGEST_TRIED = 1024
_NUMBER = re.compile(r"\d+")


class TorchProgram:
    """A loaded program with the bundle's signature."""

    def __init__(self, name: str, module: torch.nn.Module, signature: GraphSignature, device: str) -> None:
        """Find out how the program is called.

        Raises:
            ParityError: it cannot be called with a condition id and an image, or returns no logits.
        """
        self._name, self._device = name, device
        image, self._logits = signature.inputs[1], signature.outputs[0]
        self._shape = tuple(size for size in image.shape if isinstance(size, int))
        self._call: Callable[..., Any] = _entry(module)
        self._refusal: Exception | None = None
        self._answered: Mapping[str, Tensor] = {}  # to the last batch that it ran
        declared, defaults = _declared(name, module, signature), _defaults(name, module)
        self._id_axes, self._dtype, sizes = self._fitting(_dtypes(module, image.dtype), declared)
        outputs = self._answered
        together = _is_ensemble(outputs)
        if not together:
            logits = self._pick(outputs)
            check_logits(name, _name(logits.dtype), tuple(logits.shape), self._logits)
            outputs = {"": logits}
        batch_sizes, least_batch = self._batch_sizes(sizes)
        self.limits = Limits(
            batch_sizes=batch_sizes,
            least_batch=least_batch,
            narrow=narrow_of(_name(self._dtype), *(_name(output.dtype) for output in outputs.values())),
            together=together,
            defaults=defaults,
        )

    def __call__(self, cond_id: Tensor, image: Tensor) -> Tensor:
        """Logits `[batch, class]` of one member; bfloat16, which numpy lacks, as float32."""
        result = self._call(cond_id.reshape([1] * self._id_axes), image.to(self._dtype))
        return _widened(self._pick(self._outputs(result)))

    def together(self, cond_ids: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        """`ENSEMBLE_OUTPUTS` of several members."""
        outputs = self._outputs(self._call(cond_ids, image.to(self._dtype)))
        named = set(ENSEMBLE_OUTPUTS) <= set(outputs)
        return tuple(_widened(outputs[name]) for name in (ENSEMBLE_OUTPUTS if named else outputs))

    def _fitting(
        self, dtypes: tuple[torch.dtype, ...], declared: tuple[int, ...]
    ) -> tuple[int, torch.dtype, tuple[int, ...]]:
        """Axes of the id, type of the image and some batch sizes with which the program runs."""
        for tried in (lambda: (*declared, *DEFAULT_BATCH_SIZES), self._named_sizes, lambda: TRIED_SIZES):
            for dtype in dtypes:
                for axes in (0, 1):
                    sizes = tuple(size for size in tried() if self._runs(axes, dtype, size))
                    if sizes:
                        return axes, dtype, sizes
        shape = ", ".join(map(str, self._shape))
        reason = said(self._refusal) if self._refusal else "it raises no error"
        raise ParityError(
            f"{self._name} runs with no batch of images [{shape}] of any floating-point type: {reason}; "
            "verify it with the bundle of that image, or export it for this one"
        )

    def _batch_sizes(self, running: tuple[int, ...]) -> tuple[tuple[int, ...] | None, int]:
        """The sizes that run and the least of them; None for the sizes where every usual one from there does."""
        if set(DEFAULT_BATCH_SIZES) <= set(running):
            return None, 1
        tried = (*TRIED_SIZES, *running, *self._named_sizes())
        sizes = sorted({size for size in tried if size in running or self._runs(self._id_axes, self._dtype, size)})
        if set(sizes) >= {size for size in TRIED_SIZES if size >= sizes[0]}:
            return None, sizes[0]
        return tuple(sizes), sizes[0]

    def _named_sizes(self) -> Iterator[int]:
        """The numbers in what the program said when it refused: a baked size is often among them."""
        found = {int(number) for number in _NUMBER.findall(str(self._refusal or ""))[-200:] if len(number) <= 4}
        yield from sorted(size for size in found if 1 <= size <= _LARGEST_TRIED)

    def _runs(self, axes: int, dtype: torch.dtype, size: int) -> bool:
        try:
            self._answered = self._outputs(self._run_zeros(size, axes, dtype))
        except Exception as error:  # whatever a program raises: another size or type may suit it
            self._refusal = self._refusal or error
            return False
        return True

    def _run_zeros(self, size: int, axes: int | None = None, dtype: torch.dtype | None = None) -> Any:
        axes, dtype = self._id_axes if axes is None else axes, dtype or self._dtype
        cond_id = torch.zeros([1] * axes, dtype=torch.int64, device=self._device)
        with torch.inference_mode():
            return self._call(cond_id, torch.zeros((size, *self._shape), dtype=dtype, device=self._device))

    def _outputs(self, result: Any) -> Mapping[str, Tensor]:
        """Whatever a program returns, by name; a lone tensor has none, those of a plain tuple are numbered."""
        if isinstance(result, Tensor):
            return {"": result}
        if isinstance(result, Mapping):
            found = {str(name): value for name, value in result.items()}
        elif isinstance(result, tuple | list):
            names = getattr(result, "_fields", None) or [f"output {number}" for number in range(len(result))]
            found = dict(zip(names, result, strict=True))
        else:
            found = {}
        if not found or not all(isinstance(value, Tensor) for value in found.values()):
            raise ParityError(
                f"{self._name} returns {type(result).__name__} and not tensors: export it so that it returns the logits"
            )
        return found

    def _pick(self, outputs: Mapping[str, Tensor]) -> Tensor:
        names = list(outputs)
        return outputs[names[logits_output(self._name, names, self._logits.name)]]


def _entry(module: torch.nn.Module) -> Callable[..., Any]:
    """What is called: the module itself, or of TorchScript without `forward` the method `ensemble`."""
    if isinstance(module, torch.jit.ScriptModule):
        methods = module._c._method_names()
        if "forward" not in methods and "ensemble" in methods:
            return module.ensemble  # type: ignore[no-any-return]
    return module


def _declared(path: str, module: torch.nn.Module, signature: GraphSignature) -> tuple[int, ...]:
    """The batch size that a `torch.export` program declares, if it is one and declares a number."""
    inputs = _placeholders(module)
    if not inputs:
        return ()
    if len(inputs) != 2:
        raise ParityError(
            f"{path}: expected the inputs {' and '.join(item.name for item in signature.inputs)}, found "
            f"{', '.join(inputs)}; export it with these two, and anything else as constants"
        )
    image = list(inputs.values())[1]
    shape = tuple(axis if isinstance(axis, int) else None for axis in image.shape)
    check_image(path, _name(image.dtype), shape, signature.inputs[1])
    return (shape[0],) if shape[0] is not None else ()


def _placeholders(module: torch.nn.Module) -> Mapping[str, Tensor]:
    graph = getattr(module, "graph", None) if isinstance(module, torch.fx.GraphModule) else None
    nodes = [node for node in graph.nodes if node.op == "placeholder"] if graph is not None else []
    return {node.name: node.meta["val"] for node in nodes if isinstance(node.meta.get("val"), Tensor)}


def _defaults(path: str, module: torch.nn.Module) -> tuple[str, ...]:
    """TorchScript's inputs besides the first two, which must have defaults."""
    if not isinstance(module, torch.jit.ScriptModule):
        return ()
    entry = module.forward if "forward" in module._c._method_names() else _entry(module)
    if not hasattr(entry, "schema"):
        raise ParityError(f"{path} has no method forward: export the module that has one, (cond_id, image) -> logits")
    inputs = entry.schema.arguments[1:]
    if len(inputs) < 2:
        found = ", ".join(item.name for item in inputs) or "none"
        raise ParityError(
            f"{path}: expected the inputs cond_id and image, found {found}; the condition id seems baked in"
        )
    needed = [item.name for item in inputs[2:] if not item.has_default_value()]
    if needed:
        raise ParityError(f"{path} needs {', '.join(needed)} besides the id and the image: give it a default")
    return tuple(item.name for item in inputs[2:])


def _dtypes(module: torch.nn.Module, wanted: str) -> tuple[torch.dtype, ...]:
    """Types of the image to try: what is declared; the bundle's; those of the file's own tensors; the rest."""
    inputs = list(_placeholders(module).values())
    if inputs:
        return (inputs[1].dtype,)
    own: torch.dtype = getattr(torch, wanted)
    return tuple(dict.fromkeys((own, torch.float32, torch.float16, torch.bfloat16, torch.float64)))


def _is_ensemble(outputs: Mapping[str, Tensor]) -> bool:
    """Whether a program answered as `ensemble.onnx` does: logits `[member, batch, class]` and three means."""
    if set(ENSEMBLE_OUTPUTS) <= set(outputs):
        return True
    return [output.ndim for output in outputs.values()] == ENSEMBLE_AXES


def _widened(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype == torch.bfloat16 else logits


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
