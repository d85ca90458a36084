"""`ensemble.onnx`: several members in one call, and what they say together.

A Loop over `cond_ids` whose body is the conditional graph. The stored tensors exist once for all members, and each
member's logits are those of a single run. External data belongs to the outer graph alone: what a Loop's body refers to
cannot be given from memory, and is refused where files are symbolic links, as in a model hub's cache. Small tensors
that all members share are copied into the body, since onnxruntime folds only the constants beside their layer.

With p_m the members' probabilities and q their mean, in nats:

- predictive entropy `H[q] = -sum_c q_c log q_c`, at most log(classes);
- mutual information between prediction and member `mean_m sum_c p_mc (log p_mc - log q_c)`, 0 where all members
  predict the same probabilities, at most log(members). It is the part of the predictive entropy that the members'
  disagreement explains (Houlsby et al. 2011, arXiv 1112.5745; Depeweg et al. 2018, arXiv 1710.07283); as a mean of
  Kullback-Leibler divergences it keeps its precision where members agree.

A member that does not exist has NaN logits, and so NaN means: a mean that left it out silently would be the answer to
another question. `cond_ids` may name a member more than once, and must name at least one (none gives NaN means).
"""

from typing import Any

import onnx_ir as ir
from onnx_ir import tape

from hnexport.export.graph import WeightGraph

__all__ = ["ENSEMBLE_OUTPUTS", "INLINE_BYTES", "ensemble_model", "inline_shared"]

ENSEMBLE_OUTPUTS = ("member_logits", "mean_probabilities", "predictive_entropy", "mutual_information")
INLINE_BYTES = 2**16  # the batch norms of a network are some KB a tensor; a kernel is not copied
SMALLEST_NORMAL = 2.0**-126  # of float32: where a probability is below it, its logarithm does not matter


def ensemble_model(graph: WeightGraph) -> ir.Model:
    """The graph `(cond_ids, image, *stored tensors) -> ENSEMBLE_OUTPUTS`."""
    model = ir.serde.deserialize_model(ir.serde.serialize_model(graph.model))
    outer = model.graph
    cond_id, logits = outer.inputs[0], outer.outputs[0]
    if logits.shape is None:
        raise ValueError("the graph's logits have no shape")
    batch, classes = logits.shape.dims
    cond_ids = ir.Value(name="cond_ids", type=cond_id.type, shape=ir.Shape(["member"]))
    nodes = list(outer)
    outer.outputs.clear()
    outer.remove(nodes)
    outer.inputs[0] = cond_ids
    outer.name = f"{outer.name}-ensemble"
    builder = tape.Tape()
    _summarise(builder, _loop(builder, cond_ids, cond_id, nodes, logits))
    outer.extend(builder.nodes)
    for value in builder.initializers:
        outer.initializers[str(value.name)] = value
    shapes: tuple[list[Any], ...] = (["member", batch, classes], [batch, classes], [batch], [batch])
    values = {str(value.name): value for node in builder.nodes for value in node.outputs}
    for name, shape in zip(ENSEMBLE_OUTPUTS, shapes, strict=True):
        values[name].shape, values[name].type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
        outer.outputs.append(values[name])
    return model


def inline_shared(model: ir.Model) -> None:
    """Copy small shared tensors, once they are initializers, from the outer graph into the body of the loop."""
    (loop,) = [node for node in model.graph if node.op_type == "Loop"]
    body = loop.attributes["body"].as_graph()
    for name in [name for name in model.graph.initializers if name.startswith("shared.")]:
        tensor = model.graph.initializers[name].const_value
        if tensor is not None and tensor.nbytes <= INLINE_BYTES:
            value = body.initializers[name] = model.graph.initializers.pop(name)
            value.const_value = ir.Tensor(tensor.numpy().copy(), name=name)


def _value(name: str) -> ir.Value:
    return ir.Value(name=name)


def _loop(
    builder: tape.Tape, cond_ids: ir.Value, cond_id: ir.Value, nodes: list[ir.Node], logits: ir.Value
) -> ir.Value:
    """Run `nodes`, which turn `cond_id` into `logits`, for each of `cond_ids`; returns the stacked logits."""
    scalar = ir.Shape([])
    step = ir.Value(name="ensemble/step", type=cond_id.type, shape=scalar)
    go_on = ir.Value(name="ensemble/go_on", type=ir.TensorType(ir.DataType.BOOL), shape=scalar)
    going_on = ir.Value(name="ensemble/going_on", type=go_on.type, shape=scalar)
    pick = ir.node("Gather", [cond_ids, step], {"axis": 0}, outputs=[cond_id], name="ensemble/Gather")
    keep = ir.node("Identity", [go_on], outputs=[going_on], name="ensemble/Identity")
    body = ir.Graph([step, go_on], [going_on, logits], nodes=[pick, keep, *nodes], name="member")
    members = builder.op("Size", [cond_ids], name="ensemble/Size", output=_value("ensemble/Size"))
    always = builder.initializer(ir.tensor(True), name="constant/true")
    stacked = _value("member_logits")
    return builder.op("Loop", [members, always], {"body": body}, name="ensemble/Loop", output=stacked)


def _summarise(builder: tape.Tape, member_logits: ir.Value) -> None:
    """Mean probabilities and entropies of logits `[member, batch, class]`, without a logarithm of zero."""

    def op(name: str, inputs: list[ir.Value], *, output: str | None = None, **attributes: int) -> ir.Value:
        kind = name.partition(":")[0]
        label = f"ensemble/{name.replace(':', '_')}"
        return builder.op(kind, inputs, attributes, name=label, output=_value(output or label))

    def constant(name: str, value: ir.TensorProtocol) -> ir.Value:
        return builder.initializer(value, name=f"constant/{name}")

    members = constant("member_axis", ir.tensor([0], dtype=ir.DataType.INT64))
    classes = constant("class_axis", ir.tensor([-1], dtype=ir.DataType.INT64))
    tiny = constant("smallest_normal", ir.tensor(SMALLEST_NORMAL, dtype=ir.DataType.FLOAT))
    zero = constant("zero", ir.tensor(0.0, dtype=ir.DataType.FLOAT))

    log_p = op("LogSoftmax", [member_logits], axis=-1)
    p = op("Exp", [log_p])
    q = op("ReduceMean", [p, members], output="mean_probabilities", keepdims=0)
    floored = op("Where", [op("Greater", [q, tiny]), q, tiny])
    log_q = op("Log", [floored])
    negative = op("ReduceSum", [op("Mul", [q, log_q]), classes], keepdims=0)
    op("Neg", [negative], output="predictive_entropy")
    divergence = op("ReduceSum:2", [op("Mul:2", [p, op("Sub", [log_p, log_q])]), classes], keepdims=0)
    mean = op("ReduceMean:2", [divergence, members], keepdims=0)
    # Rounding may leave a few 1e-8 below zero; NaN is not below zero and stays.
    op("Where:2", [op("Less", [mean, zero]), zero, mean], output="mutual_information")
