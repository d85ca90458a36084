"""Is an int8 network computed right? Its graph in float64, with the roundings that a runtime chose.

Where a value lies between two levels, float32 decides by chance which one is nearer, and one level more or less changes
everything behind it by as much as rounding itself does: the outputs of two right computations are that far apart. So
the runtime's own levels are taken at every QuantizeLinear, each held to the exact value: it may be half a level off
and a little. An integer sum that left its range is off by many. What lies between two roundings is compared in that
way, and the outputs as strictly as those of float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from hnexport.errors import ParityError

__all__ = ["LEVEL_LIMIT", "Replay", "replay", "with_levels"]

Array = NDArray[np.generic]

LEVEL_LIMIT = 0.52
"""Levels between the exact value and the one that a runtime took: half of one, and what float32 adds to that."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What was found.

    Attributes:
        levels: the largest distance of a level from the exact value, in levels.
        worst: the activation for which that is so.
        outputs: by name in float64.
    """

    levels: float
    worst: str
    outputs: Mapping[str, Array]


def with_levels(network: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The network with what every QuantizeLinear gives as further outputs, and their names."""
    model = onnx.ModelProto()
    model.CopyFrom(network)
    names = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None) for name in names)
    return model, names


def replay(
    network: onnx.ModelProto, parameters: Mapping[str, Array], inputs: Mapping[str, Array], levels: Mapping[str, Array]
) -> Replay:
    """Compute a network in float64.

    Args:
        parameters: what the loader supplies.
        levels: what a runtime gave for every QuantizeLinear, uint8 by name.

    Raises:
        ParityError: ONNX's reference evaluator cannot compute it.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    del model.graph.initializer[:]
    for tensor in network.graph.initializer:
        value = parameters[tensor.name] if tensor.name in parameters else numpy_helper.to_array(tensor)
        model.graph.initializer.append(numpy_helper.from_array(_wide(value), tensor.name))
    _widen(model.graph)
    distances: dict[str, float] = {}
    outputs = [item.name for item in network.graph.output]
    try:
        evaluator = ReferenceEvaluator(model, new_ops=[_rounding(levels, distances), _widening(), _convolution()])
        with np.errstate(all="ignore"):
            found = evaluator.run(outputs, {name: _wide(value) for name, value in inputs.items()})
    except Exception as error:  # the evaluator raises whatever it likes
        raise ParityError(f"ONNX's reference evaluator cannot compute the int8 network: {error}") from error
    worst = max(distances, key=lambda name: distances[name], default="")
    return Replay(
        levels=distances.get(worst, 0.0), worst=worst, outputs=dict(zip(outputs, map(np.asarray, found), strict=True))
    )


def _widen(graph: onnx.GraphProto) -> None:
    """Let constants and casts inside nodes, and graphs in them, be float64 where they are float32."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == onnx.TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(_wide(numpy_helper.to_array(attribute.t))))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.DOUBLE
            for inner in (*([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []), *attribute.graphs):
                for tensor in inner.initializer:
                    if tensor.data_type == onnx.TensorProto.FLOAT:
                        wide = _wide(numpy_helper.to_array(tensor))
                        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
                _widen(inner)


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype == np.float32 else np.asarray(value, order="C")


def _rounding(levels: Mapping[str, Array], distances: dict[str, float]) -> type[OpRun]:
    """QuantizeLinear that takes the level that was taken, and notes how far that is from the exact value."""

    class QuantizeLinear(OpRun):
        op_domain = ""

        def _run(self, x: Any, scale: Any, zero: Any = None, **_: Any) -> tuple[Any]:
            name = self.onnx_node.output[0]
            taken = levels[name]
            kind: Any = np.iinfo(taken.dtype)
            exact = np.clip(x / scale + (0 if zero is None else zero.astype(np.float64)), kind.min, kind.max)
            distance = np.abs(exact - taken.astype(np.float64))
            distances[name] = float(distance.max(initial=0.0)) if np.isfinite(distance).all() else np.inf
            return (taken,)

    return QuantizeLinear


def _widening() -> type[OpRun]:
    class DequantizeLinear(OpRun):
        op_domain = ""

        def _run(self, x: Any, scale: Any, zero: Any = None, axis: int = 1, **_: Any) -> tuple[Any]:
            shape = [1] * x.ndim
            if scale.ndim:
                shape[axis] = -1
            shift = 0.0 if zero is None else zero.astype(np.float64).reshape(shape if zero.ndim else ())
            return ((x.astype(np.float64) - shift) * scale.astype(np.float64).reshape(shape if scale.ndim else ()),)

    return DequantizeLinear


def _convolution() -> type[OpRun]:
    """PyTorch's convolution: the evaluator's own takes minutes for a large network."""

    class Conv(OpRun):
        op_domain = ""

        def _run(self, x: Any, w: Any, b: Any = None, **said: Any) -> tuple[Any]:
            axes = w.ndim - 2
            pads = list(said.get("pads") or [0] * 2 * axes)
            if said.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", None):
                raise ValueError(f"auto_pad {said['auto_pad']} is not known")
            around = [size for axis in reversed(range(axes)) for size in (pads[axis], pads[axis + axes])]
            image = torch.nn.functional.pad(torch.from_numpy(np.array(x, np.float64)), around)
            found = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1](
                image,
                torch.from_numpy(np.array(w, np.float64)),
                None if b is None else torch.from_numpy(np.array(b, np.float64)),
                tuple(said.get("strides") or [1] * axes),
                0,
                tuple(said.get("dilations") or [1] * axes),
                said.get("group") or 1,
            )
            return (found.numpy(),)

    return Conv
