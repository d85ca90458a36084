"""The ranges of activations on some samples, by onnxruntime's calibrators."""

import contextlib
import io
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.calibrate import (
    CalibraterBase,
    CalibrationDataReader,
    EntropyCalibrater,
    MinMaxCalibrater,
    PercentileCalibrater,
)

from hnexport.errors import TuneError
from hnexport.quantise.parts import Parts
from hnexport.rows import batch_size, taken
from hnexport.spec import Signature

__all__ = ["Method", "calibrate", "plain"]

Array = NDArray[np.generic]

_SAMPLES_AT_ONCE = 16
_PERCENT = 99.99
_BINS = 2048
_MAX_BYTES = 2**31 - 2**24  # protobuf reads no more in one file
_QUIET = threading.Lock()  # two threads that redirect what is printed would leave it so


class Method(StrEnum):
    """How a range is chosen: all values, those but 0.01 %, or by what their distribution loses."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"


def plain(parts: Parts, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The network with one member's parameters inside.

    Raises:
        TuneError: it is more than one ONNX file can hold.
    """
    if sum(value.nbytes for value in values.values()) > _MAX_BYTES:
        raise TuneError("a member has more than 2 GiB of weights: onnxruntime's calibrators take less")
    model = onnx.ModelProto()
    model.CopyFrom(parts.network)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in values.items()
    )
    return model


def calibrate(
    model: onnx.ModelProto,
    names: Sequence[str],
    signature: Signature,
    inputs: Mapping[str, Array],
    method: Method = Method.MINMAX,
) -> dict[str, tuple[float, float]]:
    """The range of each of these tensors over the samples.

    Args:
        model: changed; a network with its weights.

    Raises:
        TuneError: onnxruntime cannot run it, or a range is not finite.
    """
    given = {item.name for item in model.graph.input}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names}
    model.graph.value_info.extend(info for name, info in infos.items() if name not in given)
    said, folders = io.StringIO(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with _QUIET, folders as folder, contextlib.redirect_stdout(said):  # they print
        path = Path(folder) / "network.onnx"
        onnx.save(model, path)
        calibrator = _calibrator(method, path)
        calibrator.select_tensors_to_calibrate = lambda _: (set(names), infos)
        try:
            calibrator.augment_graph()
            calibrator.create_inference_session()
            for part in _parts(signature, inputs):
                calibrator.collect_data(_Reader(part))
            data = calibrator.compute_data()
        except Exception as error:  # onnxruntime's exceptions have no common root
            raise TuneError(f"onnxruntime cannot calibrate the network: {error}") from error
    found = {name: tuple(float(np.min(end)) for end in data[name].range_value) for name in names}
    for name, (low, high) in found.items():
        if not np.isfinite((low, high)).all():
            raise TuneError(f"{name} is not finite on these samples: are they what the network was trained on?")
    return found  # type: ignore[return-value]


def _calibrator(method: Method, path: Path) -> CalibraterBase:
    options = {"augmented_model_path": str(path.with_name("augmented.onnx"))}
    if method is Method.MINMAX:
        return MinMaxCalibrater(path, [], **options)
    if method is Method.PERCENTILE:
        return PercentileCalibrater(path, [], num_bins=_BINS, percentile=_PERCENT, **options)
    return EntropyCalibrater(path, [], **options)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # not typed
    """One batch."""

    def __init__(self, batch: Mapping[str, Array]) -> None:
        self._batches = iter([dict(batch)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def _parts(signature: Signature, inputs: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
    samples = batch_size(signature, dict(inputs))
    for start in range(0, samples, _SAMPLES_AT_ONCE):
        yield taken(signature, inputs, slice(start, min(start + _SAMPLES_AT_ONCE, samples)))
