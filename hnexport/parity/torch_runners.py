"""The runner of TorchScript and `.pt2` files. They are programs: whoever loads one runs it.

Only `hnexport.parity.programs` decides in which process that happens.
"""

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.passes import move_to_device_pass

from hnexport.errors import ParityError
from hnexport.names import GENERATOR_PREFIX, MEMBER_PREFIX, SHARED_PREFIX
from hnexport.parity.kinds import FileKind, torch_kind
from hnexport.parity.limits import FULL
from hnexport.parity.signature import GraphSignature, SignatureError
from hnexport.parity.torch_program import TorchProgram
from hnexport.parity.trace import Given, Trace
from hnexport.parity.trace.torch_trace import trace_torch
from hnexport.programs.tracing import is_scripted

__all__ = ["TorchRunner", "load_torch"]

Array = NDArray[np.generic]


class TorchRunner:
    """A TorchScript or `.pt2` file `(cond_id, inputs) -> outputs` under PyTorch."""

    def __init__(
        self,
        content: bytes,
        name: str,
        signature: GraphSignature,
        device: str = "cpu",
        *,
        own: bool = False,
    ) -> None:
        """Load the program in `content`, the bytes of a file named `name`, on PyTorch's `device`.

        Args:
            own: whether it is a bundle's own file: then another signature is told by `signature_faults`.

        Raises:
            ParityError: PyTorch cannot load it, or it has another signature.
        """
        self._signature, self._device = signature, device
        try:
            self._module = load_torch(content, name, self._device)
        except Exception as error:  # torch raises anything on a file it cannot read
            raise ParityError(
                f"PyTorch {torch.__version__} cannot load {name}: {str(error) or type(error).__name__}"
            ) from error
        self.runtime = f"torch {torch.__version__} {device}"
        self.limits = FULL
        self.signature_faults: tuple[str, ...] = ()
        self._found: TorchProgram | None = None
        try:
            self._found = TorchProgram(name, self._module, signature, device)
        except SignatureError as error:
            if not own:
                raise
            self.signature_faults = (str(error),)
        else:
            self.limits = self._found.limits
            self.signature_faults = self._found.signature_faults if own else ()

    def run(self, cond_id: int, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The outputs of one member."""
        return self._run(torch.tensor(cond_id), inputs)

    def run_together(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """What a program with the signature of `ensemble.onnx` returns."""
        return self._run(torch.from_numpy(cond_ids), inputs)

    def ensemble(self, cond_ids: NDArray[np.int64], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The program's method `ensemble`: several members in one call."""
        method = cast("Callable[..., Any]", self._module.ensemble)
        given = self._tensors(inputs)
        with torch.inference_mode():
            found = method(
                torch.from_numpy(cond_ids).to(self._device),
                *(given[item.name] for item in self._signature.inputs[1:]),
            )
        wanted = [item.name for item in self._signature.summaries]
        outputs = [found] if isinstance(found, Tensor) else list(found)
        if len(outputs) != len(wanted):
            raise ParityError(f"ensemble returns {len(outputs)} tensors, expected {', '.join(wanted)}")
        return {name: output.cpu().numpy() for name, output in zip(wanted, outputs, strict=True)}

    def stored(self) -> Iterator[tuple[str, Array]]:
        """The file's parameters and buffers."""
        for name, tensor in self._module.state_dict().items():
            yield name.removeprefix(GENERATOR_PREFIX), tensor.detach().cpu().numpy()

    def weights(self, cond_id: int, inputs: Mapping[str, Array]) -> Given:
        """The tensors that the program gives its operators, and what else has the shape of a stored slot."""
        shapes = _slot_shapes(self.stored())
        with _unfused(self._module):
            return self._traced(cond_id, inputs, shapes=shapes).given

    def trace(self, cond_id: int, inputs: Mapping[str, Array]) -> Trace:
        """Every floating-point value of one call, and the tensors that the program gives its operators."""
        with _unfused(self._module):
            return self._traced(cond_id, inputs, values=True)

    def _traced(self, cond_id: int, inputs: Mapping[str, Array], **kept: Any) -> Trace:
        conditions = self._signature.conditions
        return trace_torch(self._program, cond_id, inputs, self._device, conditions=conditions, **kept)

    @property
    def _program(self) -> TorchProgram:
        if self._found is None:
            raise ParityError(self.signature_faults[0])
        return self._found

    def _run(self, cond_ids: Tensor, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.inference_mode():
            outputs = self._program(cond_ids.to(self._device), self._tensors(inputs))
        return {name: output.cpu().numpy() for name, output in outputs.items()}

    def _tensors(self, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.asarray(array, order="C")).to(self._device) for name, array in inputs.items()}


@contextlib.contextmanager
def _unfused(module: torch.nn.Module) -> Iterator[None]:
    """Let TorchScript run each operator by itself: what its fuser compiles, on a GPU first of all, no trace can see."""
    forward: Any = module.forward if is_scripted(module) else None
    if forward is None:
        yield
        return
    on_cpu, on_gpu = torch._C._jit_can_fuse_on_cpu(), torch._C._jit_can_fuse_on_gpu()
    torch._C._jit_override_can_fuse_on_cpu(False)
    torch._C._jit_override_can_fuse_on_gpu(False)
    forward._debug_flush_compilation_cache()  # what was compiled before would run again
    try:
        yield
    finally:
        torch._C._jit_override_can_fuse_on_cpu(on_cpu)
        torch._C._jit_override_can_fuse_on_gpu(on_gpu)
        forward._debug_flush_compilation_cache()


def _slot_shapes(stored: Iterable[tuple[str, Array]]) -> set[tuple[int, ...]]:
    """The shapes of slots that are stored as they are, for all members or for each."""
    tensors = dict(stored)
    shared = {array.shape for name, array in tensors.items() if name.startswith(SHARED_PREFIX)}
    return shared | {array.shape[1:] for name, array in tensors.items() if name.startswith(MEMBER_PREFIX)}


def load_torch(content: bytes, name: str, device: str) -> torch.nn.Module:
    """A PyTorch file, by its bytes and its name, as a module on a device; an AOTInductor package is machine code."""
    kind = torch_kind(content, name)
    if kind is FileKind.PT2:
        with warnings.catch_warnings():
            # PyTorch 2.11 warns of its own: it reads what it is given into buffers that it does not write
            warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
            program = torch.export.load(io.BytesIO(content))
        if device != "cpu":  # not `.to`: the graph names the device of what it makes and of what it checks
            program = move_to_device_pass(program, device)
        return program.module()
    if kind is FileKind.AOTINDUCTOR:
        return _load_package(content)
    return torch.jit.load(io.BytesIO(content), map_location=device).eval()  # type: ignore[no-untyped-call,no-any-return]


def _load_package(content: bytes) -> torch.nn.Module:
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"  # without it a batch of another size reads foreign memory
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "package.pt2"
        path.write_bytes(content)
        return torch._inductor.aoti_load_package(str(path))  # type: ignore[return-value]
