"""What members say together, as nodes of `ensemble.onnx`: one for each of `hnexport.spec.summaries`.

Of logits, with p_m the members' probabilities and q their mean, in nats:

- predictive entropy `H[q] = -sum_c q_c log q_c`, at most log(classes);
- mutual information between prediction and member `mean_m sum_c p_mc (log p_mc - log q_c)`, 0 where all members
  predict the same probabilities, at most log(members). It is the part of the predictive entropy that the members'
  disagreement explains (Houlsby et al. 2011, arXiv 1112.5745; Depeweg et al. 2018, arXiv 1710.07283); as a mean of
  Kullback-Leibler divergences it keeps its precision where members agree.

Of a value `mean_m x_m` and the population's variance `mean_m (x_m - mean)^2`, which loses nothing where the mean is
large. Numbers of 16 bits are summarised in float32 and rounded once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hnexport.export.graphs import add_node
from hnexport.spec import MEMBER, OutputKind, OutputSpec, Signature
from hnexport.spec.summaries import Summary, SummaryKind

__all__ = ["SMALLEST_NORMAL", "summarise"]

SMALLEST_NORMAL = {"float32": float(np.finfo(np.float32).tiny), "float64": float(np.finfo(np.float64).tiny)}
"""Where a probability is below it, its logarithm does not matter."""
_NARROW = ("float16", "bfloat16")


def summarise(
    graph: ir.Graph, signature: Signature, found: Sequence[Summary], stacked: Mapping[str, ir.Value]
) -> list[ir.Value]:
    """Append the nodes; returns the graph's outputs in the order of `found`.

    Args:
        stacked: by the network's outputs their values `[member, …]`.
    """
    made: list[ir.Value] = []
    logits = [output.name for output in signature.outputs if output.kind is OutputKind.LOGITS]
    for output in signature.outputs:
        own = {summary.kind: summary for summary in found if summary.of == output.name}
        value = stacked[output.name]
        made.append(value)
        if len(own) > 1:
            scope = "ensemble" if [output.name] == logits else f"ensemble/{output.name}"
            steps = _Steps(graph=graph, scope=scope, output=output, own=own)
            made += _of_logits(steps, value) if output.kind is OutputKind.LOGITS else _of_values(steps, value)
    return made


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """Appends nodes that belong to one output of the network."""

    graph: ir.Graph
    scope: str
    output: OutputSpec
    own: Mapping[SummaryKind, Summary]

    @property
    def dtype(self) -> str:
        """In which the summaries are computed."""
        return "float32" if self.output.dtype in _NARROW else self.output.dtype

    def op(self, name: str, inputs: Sequence[ir.Value], like: Sequence[int | str], **attributes: int) -> ir.Value:
        """A node; `name` is the operator, and a number after a colon where there are several."""
        kind, label = name.partition(":")[0], f"{self.scope}/{name.replace(':', '_')}"
        return add_node(self.graph, kind, inputs, like=self._value(like, self.dtype), name=label, **attributes)

    def constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """A constant, once for each name."""
        label = f"constant/{name}"
        if label not in self.graph.initializers:
            value = ir.Value(name=label, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()))
            value.const_value = tensor
            self.graph.initializers[label] = value
        return self.graph.initializers[label]

    def number(self, name: str, value: float) -> ir.Value:
        """A scalar of the dtype in which is computed."""
        suffix = "" if self.dtype == "float32" else f"_{self.dtype}"
        return self.constant(f"{name}{suffix}", ir.tensor(np.array(value, self.dtype)))

    def axis(self, name: str, axis: int) -> ir.Value:
        """An axis to reduce."""
        return self.constant(name, ir.tensor([axis], dtype=ir.DataType.INT64))

    def widened(self, value: ir.Value) -> ir.Value:
        """The members' values in the dtype in which is computed."""
        if self.output.dtype not in _NARROW:
            return value
        return self.op("Cast:wide", [value], [MEMBER, *self.output.shape], to=int(ir.DataType.FLOAT))

    def result(self, kind: SummaryKind, value: ir.Value) -> ir.Value:
        """A summary under its name, in its dtype."""
        summary = self.own[kind]
        if self.output.dtype in _NARROW:
            to = ir.DataType.from_numpy(np.dtype(summary.dtype))
            like = self._value(summary.shape, summary.dtype)
            value = add_node(self.graph, "Cast", [value], like=like, name=f"{self.scope}/Cast_{kind.value}", to=int(to))
        value.name = summary.name
        return value

    def _value(self, shape: Sequence[int | str], dtype: str) -> ir.Value:
        return ir.Value(shape=ir.Shape(list(shape)), type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))))


def _of_logits(steps: _Steps, stacked: ir.Value) -> list[ir.Value]:
    """Mean probabilities and entropies, without a logarithm of zero."""
    output, all_of = steps.output, [MEMBER, *steps.output.shape]
    axis = (output.axis or 0) - len(output.shape)  # from the end: the same with and without the members' axis
    each = [size for number, size in enumerate(output.shape) if number != output.axis]
    op, one = steps.op, list(output.shape)
    members, classes = steps.axis("member_axis", 0), steps.axis(f"class_axis{'' if axis == -1 else axis}", axis)
    tiny, zero = steps.number("smallest_normal", SMALLEST_NORMAL[steps.dtype]), steps.number("zero", 0.0)

    log_p = op("LogSoftmax", [steps.widened(stacked)], all_of, axis=axis)
    p = op("Exp", [log_p], all_of)
    q = op("ReduceMean", [p, members], one, keepdims=0)
    is_normal = op("Greater", [q, tiny], one)
    is_normal.type = ir.TensorType(ir.DataType.BOOL)
    log_q = op("Log", [op("Where", [is_normal, q, tiny], one)], one)
    negative = op("ReduceSum", [op("Mul", [q, log_q], one), classes], each, keepdims=0)
    predictive = op("Neg", [negative], each)
    terms = op("Mul:2", [p, op("Sub", [log_p, log_q], all_of)], all_of)
    divergence = op("ReduceSum:2", [terms, classes], [MEMBER, *each], keepdims=0)
    mean = op("ReduceMean:2", [divergence, members], each, keepdims=0)
    is_negative = op("Less", [mean, zero], each)
    is_negative.type = ir.TensorType(ir.DataType.BOOL)
    # Rounding may leave a few 1e-8 below zero; NaN is not below zero and stays.
    information = op("Where:2", [is_negative, zero, mean], each)
    return [
        steps.result(SummaryKind.MEAN_PROBABILITIES, q),
        steps.result(SummaryKind.PREDICTIVE_ENTROPY, predictive),
        steps.result(SummaryKind.MUTUAL_INFORMATION, information),
    ]


def _of_values(steps: _Steps, stacked: ir.Value) -> list[ir.Value]:
    one, op = list(steps.output.shape), steps.op
    all_of = [MEMBER, *one]
    members, wide = steps.axis("member_axis", 0), steps.widened(stacked)
    mean = op("ReduceMean", [wide, members], one, keepdims=0)
    difference = op("Sub", [wide, mean], all_of)
    variance = op("ReduceMean:2", [op("Mul", [difference, difference], all_of), members], one, keepdims=0)
    return [steps.result(SummaryKind.MEAN, mean), steps.result(SummaryKind.VARIANCE, variance)]
