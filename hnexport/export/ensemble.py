"""`ensemble.onnx`: several members in one call, and what they say together.

A Scan over `cond_ids` whose body is the conditional graph (tract has no Loop). The stored tensors exist once for all
members, and each member's outputs are those of a single run. The network's inputs are states of the Scan that stay as
they are, since OpenVINO takes no body that reads an input from around it. External data belongs to the outer graph
alone: what a body refers to cannot be given from memory, and is refused where files are symbolic links, as in a model
hub's cache. Small tensors that all members share are copied into the body, since onnxruntime folds only the constants
beside their layer. Where the network has recurrent layers it is a Loop: tract 0.23 would give wrong numbers, since it
does not reset their state between the steps of a Scan.

What is said of the members is in `hnexport.export.summarise`. A member that does not exist has NaN in every
floating-point output, and so NaN means: a mean that left it out silently would be the answer to another question.
`cond_ids` may name a member more than once, and must name at least one: a Scan of none is refused by onnxruntime and
OpenVINO, means of none are NaN.
"""

from collections.abc import Collection, Sequence

import onnx_ir as ir

from hnexport.export.graphs import add_node
from hnexport.export.summarise import summarise
from hnexport.names import COND_IDS
from hnexport.spec import MEMBER, Signature
from hnexport.spec.summaries import SummaryKind, summaries

__all__ = ["INLINE_BYTES", "ensemble_model", "inline_shared"]

INLINE_BYTES = 2**16  # the batch norms of a network are some KB a tensor; a kernel is not copied
_RECURRENT = ("GRU", "LSTM", "RNN")


def ensemble_model(model: ir.Model, signature: Signature) -> ir.Model:
    """The graph `(cond_ids, inputs, *stored tensors) -> summaries` out of that of `model.onnx`."""
    model = model.clone()
    outer = model.graph
    outer.name = f"{outer.name}-ensemble"
    cond_id, outputs, nodes = outer.inputs[0], list(outer.outputs), list(outer)
    cond_ids = ir.Value(name=COND_IDS, type=cond_id.type, shape=ir.Shape([MEMBER]))
    outer.outputs.clear()
    outer.remove(nodes)
    outer.inputs[0] = cond_ids
    found = summaries(signature)
    own = {summary.of: summary for summary in found if summary.kind is SummaryKind.MEMBERS}
    stacked = {
        str(value.name): ir.Value(
            name=own[str(value.name)].name,
            type=value.type,
            shape=ir.Shape(list(own[str(value.name)].shape)),
        )
        for value in outputs
    }
    inputs = outer.inputs[1 : 1 + len(signature.inputs)]
    for value in outputs:
        value.name = f"ensemble/{value.name}"
    body = ir.Graph([cond_id], outputs, nodes=nodes, name=MEMBER)
    each = _loop if any(node.op_type in _RECURRENT for node in body.all_nodes()) else _scan
    each(outer, list(inputs), body, list(stacked.values()))
    outer.outputs.extend(summarise(outer, signature, found, stacked))
    return model


def inline_shared(model: ir.Model, shared: Collection[str]) -> None:
    """Move small shared tensors, once they are initializers, from the outer graph into the body of the Scan or Loop.

    Args:
        shared: the names of the stored tensors that are the same for all members.
    """
    body = next(iter(model.graph.subgraphs()))
    for name in [name for name in model.graph.initializers if name in shared]:
        tensor = model.graph.initializers[name].const_value
        if tensor is not None and tensor.nbytes <= INLINE_BYTES:
            value = body.initializers[name] = model.graph.initializers.pop(name)
            value.const_value = ir.Tensor(tensor.numpy().copy(), name=name, dtype=tensor.dtype)


def _scan(outer: ir.Graph, inputs: Sequence[ir.Value], body: ir.Graph, stacked: Sequence[ir.Value]) -> None:
    """Run `body`, which turns its one input `cond_id` into outputs, for each of `cond_ids`; `stacked` are all."""
    carried = [_carry(body, number, value) for number, value in enumerate(inputs)]
    scan = ir.node(
        "Scan",
        [*inputs, outer.inputs[0]],
        {"body": body, "num_scan_inputs": 1},
        outputs=[*carried, *stacked],
        name="ensemble/Scan",
    )
    outer.append(scan)


def _carry(body: ir.Graph, number: int, value: ir.Value) -> ir.Value:
    """Hand an input of the outer graph through the steps as a state that stays as it is; returns the last one."""
    inner, kept, last = (
        ir.Value(name=f"ensemble/{value.name}{suffix}", type=value.type, shape=value.shape)
        for suffix in ("", "/kept", "/last")
    )
    for use in tuple(value.uses()):
        use.node.replace_input_with(use.idx, inner)
    body.inputs.insert(len(body.inputs) - 1, inner)
    body.append(ir.node("Identity", [inner], outputs=[kept], name=f"ensemble/{value.name}/Identity"))
    body.outputs.insert(number, kept)
    return last


def _loop(outer: ir.Graph, inputs: Sequence[ir.Value], body: ir.Graph, stacked: Sequence[ir.Value]) -> None:
    """The same as a Loop, whose body reads the inputs from around it."""
    cond_ids, cond_id, scalar = outer.inputs[0], body.inputs[0], ir.Shape([])
    count = ir.Value(type=cond_id.type, shape=scalar)
    flag = ir.Value(type=ir.TensorType(ir.DataType.BOOL), shape=scalar)
    step = ir.Value(name="ensemble/step", type=count.type, shape=scalar)
    go_on, going_on = (
        ir.Value(name=f"ensemble/{name}", type=flag.type, shape=scalar) for name in ("go_on", "going_on")
    )
    body.inputs[:] = [step, go_on]
    body.insert_before(
        body[0],
        [
            ir.node("Gather", [cond_ids, step], {"axis": 0}, outputs=[cond_id], name="ensemble/Gather"),
            ir.node("Identity", [go_on], outputs=[going_on], name="ensemble/Identity"),
        ],
    )
    body.outputs.insert(0, going_on)
    always = ir.Value(name="ensemble/always", type=flag.type, shape=scalar, const_value=ir.tensor(True, name="always"))
    outer.initializers["ensemble/always"] = always
    members = add_node(outer, "Size", [cond_ids], like=count, name="ensemble/Size")
    outer.append(ir.node("Loop", [members, always], {"body": body}, outputs=list(stacked), name="ensemble/Loop"))
