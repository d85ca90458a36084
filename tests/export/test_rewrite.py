"""Rewrites that make the ONNX graph cheaper: one pass over each basis, one copy of each chunk."""

from collections import Counter

import onnx
import onnx_ir as ir
import pytest
import torch
from ensembles import of_pipeline
from fixture_types import MakeNetwork, MakePipeline, MakeSpec, MakeTensors

from hnexport.export import capture, write_onnx
from hnexport.export.rewrite import pool_globally
from hnexport.export.weights_file import rearranged
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.spec import HypernetSpec


@pytest.fixture(scope="module")
def model(
    make_spec: MakeSpec,
    make_network: MakeNetwork,
    make_pipeline: MakePipeline,
    tmp_path_factory: pytest.TempPathFactory,
) -> onnx.ModelProto:
    folder = tmp_path_factory.mktemp("rewritten")
    pipeline = make_pipeline(make_spec(network=make_network(blocks_per_group=2)))
    write_onnx(capture(of_pipeline(pipeline)), folder, {})
    return onnx.load(folder / "model.onnx", load_external_data=False)


def test_no_chunk_is_copied_twice_and_no_single_chunk_is_copied(model: onnx.ModelProto) -> None:
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["Concat"] == counts["Transpose"] == 0
    users = Counter(name for node in model.graph.node for name in node.input)
    splits = [node for node in model.graph.node if node.op_type == "Split"]
    assert {node.name for node in splits} == {f"hypernet.{name}/Split" for name in ("group1.rest", "group2", "group3")}
    assert all(len(node.output) > 1 and all(users[name] == 1 for name in node.output) for node in splits)


def test_the_mean_over_the_image_is_a_global_pool(model: onnx.ModelProto) -> None:
    pools = [node.name for node in model.graph.node if node.op_type in ("GlobalAveragePool", "ReduceMean")]
    assert pools == ["pool/GlobalAveragePool"]


@pytest.mark.parametrize("hypernet", [HypernetSpec(), HypernetSpec(hidden_layers=(5,), bias=True)], ids=repr)
def test_a_joined_basis_is_laid_out_by_output_channel_in_the_same_number_of_elements(
    hypernet: HypernetSpec, make_spec: MakeSpec, make_tensors: MakeTensors
) -> None:
    spec = make_spec(hypernet=hypernet)
    tensors = make_tensors(spec)
    changed = {}
    for name, tensor in rearranged(wide_resnet_ensemble(spec, tensors, "a test")).items():
        assert tensor.numel() == tensors[name].numel()
        if tensor.shape != tensors[name].shape:
            changed[name] = tensor
    assert set(changed) == {"hypernet.group3.basis"}
    basis, stored = changed["hypernet.group3.basis"], tensors["hypernet.group3.basis"]
    embedding = torch.randn(stored.shape[0])
    kernel = (embedding @ stored).reshape(24, -1)
    for channel in range(24):
        torch.testing.assert_close(embedding @ basis[channel], kernel[channel])


@pytest.mark.parametrize(
    ("axes", "keepdims", "pooled"), [([2, 3], 1, 1), ([-1, -2], 1, 1), ([1, 2], 1, 0), ([2, 3], 0, 0)]
)
def test_only_a_mean_over_height_and_width_becomes_a_pool(axes: list[int], keepdims: int, pooled: int) -> None:
    image = ir.Value(name="x", shape=ir.Shape([2, 3, 4, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    over = ir.Value(name="axes", const_value=ir.tensor(axes, dtype=ir.DataType.INT64))
    mean = ir.node("ReduceMean", [image, over], {"keepdims": keepdims})
    end = ir.node("Relu", list(mean.outputs))
    graph = ir.Graph([image], list(end.outputs), nodes=[mean, end], initializers=[over], opset_imports={"": 20})
    pool_globally(graph)
    assert [node.op_type for node in graph] == [["ReduceMean", "GlobalAveragePool"][pooled], "Relu"]
