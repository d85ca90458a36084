"""Rewrites that make the ONNX graph cheaper: one pass over each basis, one copy of each chunk."""

from collections import Counter

import onnx
import onnx_ir as ir
import pytest
import torch

from hnexport.errors import ExportError
from hnexport.export import capture, write_onnx
from hnexport.export.rewrite import laid_out, lay_out_bases, pool_globally
from hnexport.spec import HypernetSpec


@pytest.fixture(scope="module")
def model(make_spec, make_network, make_pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewritten")
    pipeline = make_pipeline(make_spec(network=make_network(blocks_per_group=2)))
    write_onnx(capture(pipeline), folder, {})
    return onnx.load(folder / "model.onnx", load_external_data=False)


def test_no_chunk_is_copied_twice_and_no_single_chunk_is_copied(model):
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["Concat"] == counts["Transpose"] == 0
    users = Counter(name for node in model.graph.node for name in node.input)
    splits = [node for node in model.graph.node if node.op_type == "Split"]
    assert {node.name for node in splits} == {f"hypernet.{name}/Split" for name in ("group1.rest", "group2", "group3")}
    assert all(len(node.output) > 1 and all(users[name] == 1 for name in node.output) for node in splits)


def test_the_mean_over_the_image_is_a_global_pool(model):
    pools = [node.name for node in model.graph.node if node.op_type in ("GlobalAveragePool", "ReduceMean")]
    assert pools == ["pool/GlobalAveragePool"]


@pytest.mark.parametrize("hypernet", [HypernetSpec(), HypernetSpec(hidden_layers=(5,), bias=True)], ids=repr)
def test_a_joined_basis_is_laid_out_by_output_channel_in_the_same_number_of_elements(hypernet, make_spec, make_tensors):
    spec = make_spec(hypernet=hypernet)
    tensors = make_tensors(spec)
    changed = {}
    for name, tensor in laid_out(spec, tensors).items():
        assert tensor.numel() == tensors[name].numel()
        if tensor.shape != tensors[name].shape:
            changed[name] = tensor
    assert set(changed) == {"hypernet.group3.basis"}
    basis, stored = changed["hypernet.group3.basis"], tensors["hypernet.group3.basis"]
    embedding = torch.randn(stored.shape[0])
    kernel = (embedding @ stored).reshape(24, -1)
    for channel in range(24):
        torch.testing.assert_close(embedding @ basis[channel], kernel[channel])


def test_a_basis_that_the_graph_uses_in_another_way_is_refused(make_spec):
    spec = make_spec()
    basis = ir.Value(name="hypernet.group3.basis", shape=ir.Shape([14, 2592]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Relu", [basis])
    graph = ir.Graph([basis], list(node.outputs), nodes=[node], opset_imports={"": 20})
    with pytest.raises(
        ExportError, match=r"hypernet.group3.basis: expected Reshape as its only user, found \['Relu'\]"
    ):
        lay_out_bases(spec, graph, {"hypernet.group3.basis": basis})


@pytest.mark.parametrize(
    ("axes", "keepdims", "pooled"), [([2, 3], 1, 1), ([-1, -2], 1, 1), ([1, 2], 1, 0), ([2, 3], 0, 0)]
)
def test_only_a_mean_over_height_and_width_becomes_a_pool(axes, keepdims, pooled):
    image = ir.Value(name="x", shape=ir.Shape([2, 3, 4, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    over = ir.Value(name="axes", const_value=ir.tensor(axes, dtype=ir.DataType.INT64))
    mean = ir.node("ReduceMean", [image, over], {"keepdims": keepdims})
    end = ir.node("Relu", list(mean.outputs))
    graph = ir.Graph([image], list(end.outputs), nodes=[mean, end], initializers=[over], opset_imports={"": 20})
    pool_globally(graph)
    assert [node.op_type for node in graph] == [["ReduceMean", "GlobalAveragePool"][pooled], "Relu"]
