"""Recurrent operators that pass a NaN on: onnxruntime's clip what goes into their activations, and lose it.

Beside each GRU and LSTM a few small operators say where a NaN has come in: into a step's own outputs, and into those of
all later steps in the direction of the recurrence, as PyTorch computes them. An addition brings it back.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["keep_nan"]

_RECURRENT = ("GRU", "LSTM")
_WEIGHTS = (1, 2, 3)
_STATES = (5, 6)  # the initial states' places among the inputs


def keep_nan(graph: ir.Graph, *, weights: bool = False) -> None:
    """Add NaN to the outputs of every recurrent operator whose inputs hold it.

    Args:
        weights: also where its weights do: they may be all that is generated.
    """
    for node in [node for node in graph.all_nodes() if node.op_type in _RECURRENT and node.domain == ""]:
        if isinstance(node.graph, ir.Graph):
            _keep_nan_of(node.graph, node, _WEIGHTS if weights else ())


def _keep_nan_of(graph: ir.Graph, node: ir.Node, weights: Sequence[int]) -> None:
    steps = _Steps(graph, node)
    taken = _flag(steps, node.inputs[0], axis=2)  # [time, batch, 1]
    states = [node.inputs[place] for place in _STATES if len(node.inputs) > place]
    initial = [_flag(steps, state, axis=2) for state in states if state is not None]  # [direction, batch, 1]
    held = [node.inputs[place] for place in weights if len(node.inputs) > place]
    initial += [_flag(steps, weight, axis=None) for weight in held if weight is not None]  # [1, 1, 1]
    whole = steps.add("ReduceSum", [taken, steps.numbers([0])], keepdims=1)  # [1, batch, 1]
    first, *last = node.outputs
    _spoil(steps, first, [_by_step(steps, taken, _directions(node)), *initial])
    for output in last:
        _spoil(steps, output, [whole, *initial])


class _Steps:
    """Adds nodes behind a node, one after the other, as parts of the same module."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._last, self.node = graph, node, node

    def add(self, op_type: str, inputs: Sequence[ir.Value], **kinds: Any) -> ir.Value:
        """The output of a new node."""
        node = ir.node(op_type, list(inputs), kinds, metadata_props=dict(self.node.metadata_props))
        self._graph.insert_after(self._last, node)
        self._last = node
        return node.outputs[0]

    def numbers(self, values: Sequence[int]) -> ir.Value:
        """A constant of int64 numbers."""
        return self.add("Constant", [], value=ir.tensor(np.array(values, dtype=np.int64)))

    def number(self, value: float, like: ir.Value) -> ir.Value:
        """A constant scalar of the dtype of a value."""
        dtype = ir.DataType.FLOAT if like.dtype is None else like.dtype
        return self.add("Constant", [], value=ir.tensor(np.array(value, dtype=dtype.numpy())))


def _flag(steps: _Steps, value: ir.Value | None, axis: int | None) -> ir.Value:
    """0 along an axis, or all, where there is no NaN, NaN where there is one; an axis stays, of size 1."""
    if value is None:
        raise ValueError(f"{steps.node.op_type} has no input")
    nan = steps.add("IsNaN", [value])
    marked = steps.add("Where", [nan, steps.number(np.nan, value), steps.number(0.0, value)])
    return steps.add("ReduceSum", [marked, *([] if axis is None else [steps.numbers([axis])])], keepdims=1)


def _directions(node: ir.Node) -> tuple[int, ...]:
    """For each direction whether it goes backwards through time, 0 or 1."""
    given = node.attributes.get("direction")
    return {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}[given.as_string() if given else "forward"]


def _by_step(steps: _Steps, taken: ir.Value, directions: tuple[int, ...]) -> ir.Value:
    """`[time, batch, 1]` -> `[time, direction, batch, 1]`: what has come in up to each step."""
    axis = steps.add("Constant", [], value=ir.tensor(np.array(0, dtype=np.int64)))
    summed = [steps.add("CumSum", [taken, axis], reverse=reverse) for reverse in directions]
    lifted = [steps.add("Unsqueeze", [one, steps.numbers([1])]) for one in summed]
    return lifted[0] if len(lifted) == 1 else steps.add("Concat", lifted, axis=1)


def _spoil(steps: _Steps, output: ir.Value, flags: Sequence[ir.Value]) -> None:
    """`output + flags` in the place of `output`."""
    uses, replaced = tuple(output.uses()), output
    if not uses:
        return
    for flag in flags:
        replaced = steps.add("Add", [replaced, flag])
    replaced.shape, replaced.type = output.shape, output.type
    for use in uses:
        use.node.replace_input_with(use.idx, replaced)
