"""Graphs that are there already get one more operator: an output is divided by a number."""

from typing import Any

import numpy as np
import onnx
import torch
from torch.export import ExportedProgram

from hnexport.errors import ExportError

__all__ = ["temper_onnx", "temper_program"]


def temper_onnx(model: onnx.ModelProto, output: str, value: float, *, inside: bool) -> None:
    """Divide an output of a graph in place; external data are not touched.

    Args:
        output: its name.
        inside: it is that of each member in a graph that runs several: the output of the body of its Scan or Loop.

    Raises:
        ExportError: no node computes it.
    """
    graph, name = model.graph, output
    if inside:
        bodies = (item.g for node in graph.node if node.op_type in ("Scan", "Loop") for item in node.attribute)
        name = f"ensemble/{output}"
        graph = next((body for body in bodies if name in [one.name for one in body.output]), graph)
    before, held = f"{name}/untempered", f"{name}/temperature"
    makers = [node for node in graph.node if name in node.output]
    if len(makers) != 1:
        raise ExportError(f"{output}: no node of the graph computes it, so that nothing can be divided")
    for node in graph.node:
        for names in (node.input, node.output):
            for number, one in enumerate(names):
                if one == name:
                    names[number] = before
    (declared,) = [one for one in graph.output if one.name == name]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, dtype), held))
    graph.node.append(onnx.helper.make_node("Div", [before, held], [name], name=f"{name}/Div"))


def temper_program(program: ExportedProgram, position: int, value: float) -> None:
    """Divide an output of a program in place.

    Args:
        position: of the output among the program's own.
    """
    graph: Any = program.graph
    (last,) = graph.find_nodes(op="output")
    specs: Any = program.graph_signature.output_specs
    places = [number for number, spec in enumerate(specs) if spec.kind.name == "USER_OUTPUT"]
    place = places[position]
    outputs = list(last.args[0])
    node = outputs[place]
    with graph.inserting_before(last):
        divided = graph.call_function(torch.ops.aten.div.Tensor, (node, value))
    divided.meta = dict(node.meta)
    outputs[place] = divided
    last.args = (tuple(outputs),)
    specs[place].arg.name = divided.name
    graph.lint()
    program.graph_module.recompile()
