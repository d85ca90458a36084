"""The engine over OpenVINO, an optional dependency (`pip install openvino`), on the CPU.

A member is materialised by putting constants in the place of the model's `cond_id` and conditions: OpenVINO folds the
hypernetwork away when it compiles, and what is left is the plain network.
"""

import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import Manifest
from hnexport.bundle.sessions import confined_path
from hnexport.errors import BundleError, ProviderError, RuntimeInputError
from hnexport.interrupts import interrupts_kept
from hnexport.machine.memory import release_freed_memory
from hnexport.machine.processor import integer_products
from hnexport.names import COND_ID, MODEL_FILE, WEIGHTS_FILE
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.runtime.options import Precision, Strategy
from hnexport.runtime.residents import NO_CONDITIONS, Arrays, ConditionalPredictor, Predictor
from hnexport.runtime.shares import member_bytes
from hnexport.runtime.threads import threads_of_each
from hnexport.spec import OutputSpec
from hnexport.spelling import spelled

__all__ = ["OpenvinoEngine", "import_openvino"]

_PRECISION_HINTS = {
    Precision.FLOAT32: "f32",
    Precision.BFLOAT16: "bf16",
    Precision.FLOAT16: "f16",
    Precision.INT8: "f32",
}
_CAPABILITIES = {Precision.BFLOAT16: "BF16", Precision.FLOAT16: "FP16"}


def _instead() -> str:
    return spelled("engine='onnxruntime'", "--engine onnxruntime")


def import_openvino() -> Any:
    """The module `openvino`.

    Raises:
        ProviderError: it is not installed, or cannot be imported; with the remedy.
    """
    if find_spec("openvino") is None:
        raise ProviderError(f"OpenVINO is not installed: pip install openvino, or choose {_instead()}")
    try:
        with interrupts_kept():
            import openvino

        openvino.Core  # noqa: B018  # what an interrupted installation leaves imports, and is empty
    except Exception as error:  # a broken installation may raise anything
        raise ProviderError(
            f"OpenVINO is installed and cannot be imported ({error}): pip install --force-reinstall openvino, "
            f"or choose {_instead()}"
        ) from error
    return openvino


class OpenvinoEngine:
    """Compiled models on OpenVINO's CPU device.

    OpenVINO computes in bfloat16 by itself on a CPU that has it, which is 0.03 off on logits of scale 10; here the
    precision is always named.
    """

    name = "openvino"
    provider = "cpu"
    sessions = 1  # they share OpenVINO's own pool of threads
    files: Mapping[Strategy, tuple[str, ...]] = MappingProxyType(
        {Strategy.MATERIALISED: (MODEL_FILE, WEIGHTS_FILE), Strategy.GENERATED: (MODEL_FILE, WEIGHTS_FILE)}
    )

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        threads: int | None,
        precision: Precision,
        *,
        opening: Callable[[Iterable[str]], AbstractContextManager[None]] = lambda _: nullcontext(),
        int8: OnnxruntimeEngine | None = None,
    ) -> None:
        """An engine for one bundle.

        Args:
            opening: surrounds each opening of files of the bundle, and refuses others.
            int8: what makes a member's parameters, where the precision is int8.

        Raises:
            ProviderError: OpenVINO is not installed or broken, or the processor lacks instructions of the precision.
        """
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._require(precision)
        self.precision = precision
        self.version = f"openvino {self._openvino.get_version().partition('-')[0]}"
        self._path, self._manifest, self._int8, self._opening = folder / MODEL_FILE, manifest, int8, opening
        self._config: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads_of_each(1, threads),  # one pool, which OpenVINO shares among its models
        }

    def _require(self, precision: Precision) -> None:
        """OpenVINO takes a hint that the processor cannot follow, and computes in something else."""
        wanted = _CAPABILITIES.get(precision)
        if wanted is not None and wanted not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ProviderError(
                f"precision={precision.value!r}: OpenVINO finds no instructions for it on this processor, nothing "
                "is to be gained: leave it out"
            )
        if precision is Precision.INT8 and integer_products() == ():
            raise ProviderError(
                "precision='int8': this processor has no instructions for products of int8 (VNNI, AMX), and OpenVINO's "
                f"sums would leave their range: choose {_instead()}, or leave the precision out"
            )

    @property
    def member_bytes(self) -> int:
        """The size of one member's weights, in bytes."""
        return member_bytes(self._manifest)

    def materialise(self, member: int, conditions: Arrays = NO_CONDITIONS) -> Predictor:
        """The plain network of one member and its conditions.

        Raises:
            BundleError: OpenVINO cannot load the model.
        """
        if self._int8 is not None:
            return self._in_int8(self._int8, member, conditions)
        model = self._read_bundle()
        for name, value in {COND_ID: np.array(member, dtype=np.int64), **conditions}.items():
            parameter = next(node for node in model.get_parameters() if name in node.output(0).names)
            constant = self._openvino.opset13.constant(value)
            for use in list(parameter.output(0).get_target_inputs()):
                use.replace_source_output(constant.output(0))
            model.remove_parameter(parameter)
        requests = self._requests(model)
        del model, parameter, constant
        release_freed_memory()
        return requests.infer

    def _in_int8(self, maker: OnnxruntimeEngine, member: int, conditions: Arrays) -> Predictor:
        """The plain network of one member with integers as constants; onnxruntime generates and rounds its weights."""
        with tempfile.TemporaryDirectory(prefix="hnexport-", ignore_cleanup_errors=True) as folder:
            path = maker.write_int8(Path(folder), member, conditions)
            requests = self._requests(self._read(path, {"ENABLE_MMAP": False}))
        release_freed_memory()
        return requests.infer

    def fold(self, member: int) -> Predictor:
        """Refused: what `hnexport tune` makes is for onnxruntime.

        Raises:
            ProviderError: always.
        """
        raise ProviderError(f"OpenVINO cannot run member {member} over tuned graphs: they are onnxruntime's")

    def generate(self) -> ConditionalPredictor:
        """All members in one compiled model, which generates a member's weights in every call.

        Raises:
            BundleError: OpenVINO cannot load the model.
        """
        requests = self._requests(self._read_bundle())
        return lambda member, inputs: requests.infer({COND_ID: np.array(member, dtype=np.int64), **inputs})

    def open_network(self, path: Path) -> Predictor:
        """A network without a condition id in a file of its own, with this engine's precision and threads.

        Raises:
            BundleError: OpenVINO cannot load it.
        """
        return self._requests(self._read(path)).infer

    def _requests(self, model: Any) -> "_Requests":
        return _Requests(self._compile(model), self._manifest.outputs)

    def _read_bundle(self) -> Any:
        with self._opening((MODEL_FILE, WEIGHTS_FILE)):
            return self._read(self._path)

    def _read(self, path: Path, config: Mapping[str, Any] = MappingProxyType({})) -> Any:
        try:
            with confined_path(path) as confined:
                return self._core.read_model(confined, config=dict(config))
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO cannot read {path}: {error}; build the bundle again, or choose {_instead()}"
            ) from error

    def _compile(self, model: Any) -> Any:
        try:
            return self._core.compile_model(model, "CPU", self._config)
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO cannot compile {self._path}: {error}; build the bundle again, or choose {_instead()}"
            ) from error


class _Requests:
    """One inference request a thread: a request holds the tensors of one call."""

    def __init__(self, compiled: Any, outputs: tuple[OutputSpec, ...]) -> None:
        self._compiled, self._local = compiled, threading.local()
        self._dtypes = {output.name: output.dtype for output in outputs}

    def infer(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """The outputs by name."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        try:
            results = request.infer(dict(inputs), share_inputs=True)
        except RuntimeError as error:
            raise RuntimeInputError(f"OpenVINO cannot run this batch: {error}") from error
        return {name: np.array(results[name], dtype=dtype) for name, dtype in self._dtypes.items()}
