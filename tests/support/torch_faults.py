"""Faults planted in the captured graph, from which TorchScript and `.pt2` files are then written."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bundles import rewrite_checksums, small_spec, trained_tensors
from ensembles import of_pipeline
from faults import INFERENCE, WEIGHTS, Fault
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from hnexport.export import Capture, capture, write_pt2, write_torchscript
from hnexport.networks.wide_resnet.pipeline import Pipeline

aten = torch.ops.aten
EditGraph = Callable[[Graph], None]


def _nodes(graph: Graph, target: object) -> list[Node]:
    return [node for node in graph.nodes if node.target is target]


def _insert(graph: Graph, before: Node, target: Any, *args: Any) -> Node:
    with graph.inserting_before(before):
        node = graph.call_function(target, args)
    example = next(item.meta["val"] for item in graph.nodes if item.name == "cond_id")
    with example.fake_mode:
        node.meta["val"] = target(*map_arg(args, lambda item: item.meta["val"]))
    return node


def _replace_arg(node: Node, index: int, value: Any) -> None:
    args = list(node.args)
    args.extend([None] * (index + 1 - len(args)))
    args[index] = value
    node.args = tuple(args)


def _baked(graph: Graph) -> None:
    for clamp in _nodes(graph, aten.clamp.default):
        clamp.replace_all_uses_with(_insert(graph, clamp, aten.full_like.default, clamp.args[0], 1))


def _off_by_one(graph: Graph) -> None:
    for clamp in _nodes(graph, aten.clamp.default):
        _replace_arg(clamp, 0, _insert(graph, clamp, aten.add.Scalar, clamp.args[0], 1))


def _no_guard(graph: Graph) -> None:
    for where in [node for node in graph.nodes if "where" in str(node.target)]:
        where.replace_all_uses_with(_insert(graph, where, aten.scalar_tensor.default, 0.0))


def _no_relu(graph: Graph) -> None:
    relu = _nodes(graph, aten.relu.default)[3]
    (before,) = relu.all_input_nodes
    relu.replace_all_uses_with(before)
    graph.erase_node(relu)


def _epsilon(graph: Graph) -> None:
    _replace_arg(_nodes(graph, aten.batch_norm.default)[1], 7, 1e-3)


def _training_norm(graph: Graph) -> None:
    norm = _nodes(graph, aten.batch_norm.default)[2]
    _replace_arg(norm, 3, None)
    _replace_arg(norm, 4, None)
    _replace_arg(norm, 5, True)


def _wrong_stride(graph: Graph) -> None:
    convolutions = _nodes(graph, aten.conv2d.default)
    for convolution in (convolutions[6], convolutions[8]):  # group3.block1: conv1 and shortcut
        _replace_arg(convolution, 3, [1, 1])


def _wrong_order(graph: Graph) -> None:
    convolution = _nodes(graph, aten.conv2d.default)[7]  # group3.block1.conv2
    _replace_arg(convolution, 1, _insert(graph, convolution, aten.roll.default, convolution.args[1], [32], [1]))


def _no_output_bias(graph: Graph) -> None:
    linear = _nodes(graph, aten.linear.default)[0]
    linear.args = linear.args[:2]


def _batch_mixing(graph: Graph) -> None:
    linear = _nodes(graph, aten.linear.default)[0]
    image = linear.args[0]
    mean = _insert(graph, linear, aten.mean.dim, image, [0], True)
    share = _insert(graph, linear, aten.mul.Tensor, mean, 1e-3)
    _replace_arg(linear, 0, _insert(graph, linear, aten.sub.Tensor, image, share))


def _round_kernel(graph: Graph) -> None:
    convolution = _nodes(graph, aten.conv2d.default)[4]
    half = _insert(graph, convolution, aten.to.dtype, convolution.args[1], torch.float16)
    _replace_arg(convolution, 1, _insert(graph, convolution, aten.to.dtype, half, torch.float32))


def _transposed_chunk(graph: Graph) -> None:
    convolution = _nodes(graph, aten.conv2d.default)[1]
    _replace_arg(convolution, 1, _insert(graph, convolution, aten.transpose.int, convolution.args[1], 0, 1))


def _swapped_affine(graph: Graph) -> None:
    norm = _nodes(graph, aten.batch_norm.default)[-1]
    first, second = norm.args[1:3]
    _replace_arg(norm, 1, second)
    _replace_arg(norm, 2, first)


def _image_layout(graph: Graph) -> None:
    convolution = _nodes(graph, aten.conv2d.default)[0]
    _replace_arg(convolution, 0, _insert(graph, convolution, aten.transpose.int, convolution.args[0], 2, 3))


def _captured(seed: int = 0) -> Capture:
    spec = small_spec("hypernet")
    return capture(of_pipeline(Pipeline(spec, trained_tensors(spec, seed))))


def _write(bundle: Path, artifact: str, captured: Capture) -> None:
    if artifact == "pt2":
        write_pt2(captured, bundle / "model.pt2")
    else:
        write_torchscript(captured, bundle / "model.pt")
    rewrite_checksums(bundle)


@functools.cache
def _reference_capture() -> Capture:
    return _captured()


def _edited(edit: EditGraph) -> Capture:
    """The capture with an edited graph; the original graph is put back by making the copy first."""
    captured = _reference_capture()
    program = captured.joint
    copy = torch.export.ExportedProgram(
        root=program.graph_module,
        graph=_copied_graph(program.graph),
        graph_signature=program.graph_signature,
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=program.verifiers,
    )
    edit(copy.graph)
    copy.graph.lint()
    copy.graph_module.recompile()
    edited = dataclasses.replace(captured)
    vars(edited)["joint"] = copy  # as if it had been captured so
    return edited


def _copied_graph(graph: Graph) -> Graph:
    copy = Graph()
    values: dict[Node, Node] = {}
    output = copy.graph_copy(graph, values)
    node = copy.output(output)
    node.meta = dict(next(iter(reversed(graph.nodes))).meta)
    return copy


def _fault(artifact: str, name: str, edit: EditGraph, stage: str | None = None, place: str | None = None) -> Fault:
    def plant(bundle: Path) -> None:
        _write(bundle, artifact, _edited(edit))

    return Fault(name=name, artifact=artifact, plant=plant, stage=stage, place=place)


def _stale(artifact: str) -> Fault:
    def plant(bundle: Path) -> None:
        _write(bundle, artifact, _captured(seed=99))

    place = "hypernet.input.embedding"
    return Fault(name="weights of another build", artifact=artifact, plant=plant, stage=WEIGHTS, place=place)


def _of(artifact: str) -> tuple[Fault, ...]:
    fault = functools.partial(_fault, artifact)
    return (
        fault("condition baked in", _baked, WEIGHTS, "hypernet.input.embedding"),
        fault("embedding off by one", _off_by_one, WEIGHTS, "hypernet.input.embedding"),
        fault("no guard for unknown ids", _no_guard),
        fault("ReLU missing", _no_relu, INFERENCE, "group2.block1.norm2"),
        fault("batch-norm epsilon 1e-3", _epsilon, INFERENCE, "group1.block1.norm2"),
        fault("batch norm in training mode", _training_norm, INFERENCE, "group2.block1.norm1"),
        fault("wrong stride", _wrong_stride, INFERENCE, "group3.block1.conv1"),
        fault("chunks joined in the wrong order", _wrong_order, WEIGHTS, "group3.block1.conv2.weight"),
        fault("output bias dropped", _no_output_bias, INFERENCE, "output"),
        fault("batch mixing", _batch_mixing, INFERENCE, "output"),
        fault("float16 rounding of one kernel", _round_kernel, WEIGHTS, "group2.block1.conv2.weight"),
        fault("chunk transposed", _transposed_chunk, WEIGHTS, "group1.block1.conv1.weight"),
        fault("scale and shift swapped", _swapped_affine, WEIGHTS, "norm.weight"),
        fault("wrong image layout", _image_layout, INFERENCE, "input"),
        _stale(artifact),
    )


TORCH_FAULTS = (*_of("torchscript"), *_of("pt2"))
