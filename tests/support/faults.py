"""Faults that happen in the wild, each planted in an artifact that was correct.

`place` is what `locate` should name (None where the fault is not in a layer), `stage` where it should look for it.
`unreadable` artifacts cannot be compared at all: `verify` raises.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bundles import rewrite_checksums, small_spec, trained_tensors
from onnx import helper, numpy_helper

from hnexport.export.weights_file import rearranged, write_weights
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.parity.trace.onnx_graph import constants

EditOnnx = Callable[["OnnxEditor"], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    name: str
    artifact: str
    plant: Callable[[Path], None]
    kind: str = "hypernet"
    stage: str | None = None
    place: str | None = None
    unreadable: bool = False

    def __str__(self) -> str:
        return f"{self.artifact}: {self.name}"


class OnnxEditor:
    """Edits one ONNX file of a bundle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = onnx.load(path, load_external_data=False)
        self.graph = self.model.graph

    def node(self, output: str) -> onnx.NodeProto:
        return next(node for node in self.graph.node if output in node.output)

    def reader(self, value: str) -> onnx.NodeProto:
        return next(node for node in self.graph.node if value in node.input)

    def layer(self, name: str) -> onnx.NodeProto:
        return next(node for node in self.graph.node if node.name == name)

    def attribute(self, node: onnx.NodeProto, name: str, value: object) -> None:
        kept = [item for item in node.attribute if item.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    def value(self, name: str) -> np.ndarray:
        return np.array(constants(self.model, self.path)[name])

    def set_value(self, name: str, value: np.ndarray) -> None:
        kept = [tensor for tensor in self.graph.initializer if tensor.name != name]
        del self.graph.initializer[:]
        self.graph.initializer.extend([*kept, numpy_helper.from_array(np.ascontiguousarray(value), name)])

    def after(self, value: str, op_type: str, *more: str, count: int = 1, **attributes: Any) -> None:
        """Put a node, or several in a row, behind a value: everything that used it uses theirs."""
        users = [(node, i) for node in self.graph.node for i, name in enumerate(node.input) if name == value]
        last = f"{value}/planted"
        if not users:  # a graph output keeps its name
            self.node(value).output[list(self.node(value).output).index(value)] = f"{value}/before"
            value, last = f"{value}/before", value
        for node, i in users:
            node.input[i] = last
        self.insert(helper.make_node(op_type, [value, *more], [last], name=f"{last}/{op_type}", **attributes))

    def insert(self, node: onnx.NodeProto) -> None:
        """Insert a node as early as its inputs allow."""
        needed = set(node.input)
        position = max((i + 1 for i, item in enumerate(self.graph.node) if needed & set(item.output)), default=0)
        self.graph.node.insert(position, node)

    def save(self) -> None:
        del self.graph.value_info[:]
        self.path.write_bytes(self.model.SerializeToString())


def _onnx(
    name: str,
    edit: EditOnnx,
    stage: str | None = None,
    place: str | None = None,
    *,
    file: str = "model.onnx",
    kind: str = "hypernet",
) -> Fault:
    def plant(bundle: Path) -> None:
        editor = OnnxEditor(bundle / file)
        edit(editor)
        editor.save()
        rewrite_checksums(bundle)

    artifact = "onnx" if file == "model.onnx" else "onnx-materialised"
    return Fault(name=name, artifact=artifact, plant=plant, kind=kind, stage=stage, place=place)


def _select(e: OnnxEditor, row: str) -> None:
    """Let every table be read at another row than the id's."""
    for node in e.graph.node:
        if node.op_type == "Gather" and node.input[1].startswith("cond_id/"):
            node.input[1] = row


def _baked(e: OnnxEditor) -> None:
    e.set_value("baked", np.array([1], dtype=np.int64))
    _select(e, "baked")


def _baked_without_input(e: OnnxEditor) -> None:
    e.set_value("cond_id", np.array(0, dtype=np.int64))
    e.graph.input.remove(next(item for item in e.graph.input if item.name == "cond_id"))


def _swap_members(e: OnnxEditor) -> None:
    for tensor in [tensor.name for tensor in e.graph.initializer if tensor.name.endswith("embedding")]:
        e.set_value(tensor, e.value(tensor)[[1, 0, 2]])


def _off_by_one(e: OnnxEditor) -> None:
    e.set_value("one", np.array(1, dtype=np.int64))
    e.insert(helper.make_node("Add", ["cond_id/Reshape", "one"], ["next"], name="next"))
    e.insert(helper.make_node("Clip", ["next", *e.layer("cond_id/Clip").input[1:]], ["next/row"], name="next/row"))
    _select(e, "next/row")


def _accept_negative(e: OnnxEditor) -> None:
    e.set_value("last", np.array(2, dtype=np.int64))
    e.insert(helper.make_node("Greater", ["cond_id/Reshape", "last"], ["too large"], name="too large"))
    e.insert(helper.make_node("Not", ["too large"], ["valid"], name="valid"))
    e.layer("cond_id/Where").input[0] = "valid"


def _accept_large(e: OnnxEditor) -> None:
    e.set_value("first", np.array(0, dtype=np.int64))
    e.insert(helper.make_node("GreaterOrEqual", ["cond_id/Reshape", "first"], ["valid"], name="valid"))
    e.layer("cond_id/Where").input[0] = "valid"


def _truncate_id(e: OnnxEditor) -> None:
    """A runtime that takes int32."""
    e.after("cond_id", "Cast", to=onnx.TensorProto.INT32)
    e.after("cond_id/planted", "Cast", to=onnx.TensorProto.INT64)


def _no_guard(e: OnnxEditor) -> None:
    e.set_value("constant/nan", np.array(0.0, dtype=np.float32))


def _swallow_nan(e: OnnxEditor) -> None:
    e.set_value("zero", np.array(0.0, dtype=np.float32))
    e.node("logits").output[0] = "raw"
    e.graph.node.append(helper.make_node("IsNaN", ["raw"], ["is_nan"], name="is_nan"))
    e.graph.node.append(helper.make_node("Where", ["is_nan", "zero", "raw"], ["logits"], name="swallow"))


def _transposed_chunk(e: OnnxEditor) -> None:
    e.after("group1.block1.conv1.weight", "Transpose", perm=[1, 0, 2, 3])


def _flipped_kernel(e: OnnxEditor) -> None:
    e.after("group3.block1.conv1.weight", "Transpose", perm=[0, 1, 3, 2])


def _wrong_order(e: OnnxEditor) -> None:
    e.set_value("order", np.array([*range(32, 64), *range(32)], dtype=np.int64))
    e.after("group3.block1.conv2.weight", "Gather", "order", axis=1)


def _permuted_chunk(e: OnnxEditor) -> None:
    e.set_value("hypernet.group3.basis", np.roll(e.value("hypernet.group3.basis"), 1, axis=1))


def _wrong_chunk(e: OnnxEditor) -> None:
    node = e.layer("hypernet.group1/Split")
    node.output[:] = list(node.output)[::-1]


def _wrong_stride(e: OnnxEditor) -> None:
    for name in ("group3.block1.conv1/Conv", "group3.block1.shortcut/Conv"):
        e.attribute(e.layer(name), "strides", [1, 1])


def _wrong_padding(e: OnnxEditor) -> None:
    e.attribute(e.layer("group2.block1.conv2/Conv"), "pads", [2, 2, 0, 0])


def _no_relu(e: OnnxEditor) -> None:
    e.reader("group2.block1.norm2/BatchNormalization").op_type = "Identity"


def _epsilon(e: OnnxEditor) -> None:
    e.attribute(e.layer("group1.block1.norm2/BatchNormalization"), "epsilon", 1e-3)


def _one_norm_element(e: OnnxEditor) -> None:
    scale = e.value("shared.group2.block1.norm1.weight")
    scale[3] *= 1.01
    e.set_value("shared.group2.block1.norm1.weight", scale)


def _one_generated_element(e: OnnxEditor) -> None:
    mask = np.ones((32, 16, 3, 3), dtype=np.float32)
    mask[5, 6, 1, 1] = 1.01
    e.set_value("mask", mask)
    e.after("group2.block1.conv1.weight", "Mul", "mask")


def _round_kernel(e: OnnxEditor) -> None:
    e.after("group3.block1.conv1.weight", "Cast", to=onnx.TensorProto.FLOAT16)
    e.after("group3.block1.conv1.weight/planted", "Cast", to=onnx.TensorProto.FLOAT)


def _round_activation(e: OnnxEditor) -> None:
    e.after("group2.block1.conv1/Conv", "Cast", to=onnx.TensorProto.FLOAT16)
    e.after("group2.block1.conv1/Conv/planted", "Cast", to=onnx.TensorProto.FLOAT)


def _wrong_statistics(e: OnnxEditor) -> None:
    first, second = (e.layer(f"group1.block1.{norm}/BatchNormalization") for norm in ("norm1", "norm2"))
    first.input[3], second.input[3] = second.input[3], first.input[3]
    first.input[4], second.input[4] = second.input[4], first.input[4]


def _swapped_affine(e: OnnxEditor) -> None:
    node = e.layer("norm/BatchNormalization")
    node.input[1], node.input[2] = node.input[2], node.input[1]


def _swapped_generated(e: OnnxEditor) -> None:
    """Where a batch norm is spelled out: what is made as its scale is called its shift."""
    other = {"norm.weight": "norm.bias", "norm.bias": "norm.weight"}
    for node in e.graph.node:
        node.output[:] = [other.get(name, name) for name in node.output]


def _no_output_bias(e: OnnxEditor) -> None:
    del e.layer("output/Gemm").input[2]


def _batch_mixing(e: OnnxEditor) -> None:
    e.set_value("axis", np.array([0], dtype=np.int64))
    e.set_value("share", np.array(1e-3, dtype=np.float32))
    gemm = e.node("logits")
    gemm.output[0] = "raw"
    for node in (
        helper.make_node("ReduceMean", ["raw", "axis"], ["mean"], keepdims=1, name="mix/mean"),
        helper.make_node("Sub", ["raw", "mean"], ["off"], name="mix/off"),
        helper.make_node("Mul", ["off", "share"], ["part"], name="mix/part"),
        helper.make_node("Add", ["raw", "part"], ["logits"], name="mix/logits"),
    ):
        e.graph.node.append(node)


def _image_layout(e: OnnxEditor) -> None:
    e.after("image", "Transpose", perm=[0, 1, 3, 2])


def _double_normalisation(e: OnnxEditor) -> None:
    first = e.node(e.layer("input/Conv").input[0])
    value = first.output[0]
    for name, number in (("mean2", 0.45), ("std2", 0.25)):
        e.set_value(name, np.array(number, dtype=np.float32))
    e.after(value, "Sub", "mean2")
    e.after(f"{value}/planted", "Div", "std2")


def _no_residual(e: OnnxEditor) -> None:
    node = e.layer("group1.block1/Add")
    node.op_type = "Identity"
    del node.input[1]


def _shortcut_after_norm(e: OnnxEditor) -> None:
    e.layer("group2.block1.shortcut/Conv").input[0] = e.reader("group2.block1.norm1/BatchNormalization").output[0]


def _softmax(e: OnnxEditor) -> None:
    e.after("logits", "Softmax", axis=1)


def _max_pool(e: OnnxEditor) -> None:
    e.layer("pool/GlobalAveragePool").op_type = "GlobalMaxPool"


def _swapped_outputs(e: OnnxEditor) -> None:
    a, b = e.node("group1.block1.conv1.weight"), e.node("group1.block1.conv2.weight")
    a.output[0], b.output[0] = b.output[0], a.output[0]


def _stale_weights(bundle: Path) -> None:
    spec = small_spec("hypernet")
    write_weights(bundle, rearranged(wide_resnet_ensemble(spec, trained_tensors(spec, seed=99), "another build")))
    rewrite_checksums(bundle)


def _one_stored_element(bundle: Path) -> None:
    """One of the 150,000 elements of the bases, 1 % larger."""
    editor = OnnxEditor(bundle / "model.onnx")
    tensor = next(item for item in editor.graph.initializer if item.name == "hypernet.group3.basis")
    offset = int({entry.key: entry.value for entry in tensor.external_data}["offset"])
    data = np.memmap(bundle / "weights.bin", dtype="<f4", mode="r+", offset=offset)
    data[777] *= 1.01
    data.flush()
    rewrite_checksums(bundle)


def _truncated(bundle: Path) -> None:
    data = (bundle / "weights.bin").read_bytes()
    (bundle / "weights.bin").write_bytes(data[: len(data) // 2])


def _truncated_and_signed(bundle: Path) -> None:
    _truncated(bundle)
    rewrite_checksums(bundle)


def _one_bit(bundle: Path) -> None:
    data = bytearray((bundle / "weights.bin").read_bytes())
    data[5000] ^= 1
    (bundle / "weights.bin").write_bytes(data)


def _missing_file(bundle: Path) -> None:
    (bundle / "hypernet.onnx").unlink()


WEIGHTS, INFERENCE = "weight generation", "inference"

ONNX_FAULTS = (
    _onnx("condition baked in", _baked, WEIGHTS, "hypernet.input.embedding"),
    _onnx("condition baked in, its input gone", _baked_without_input),
    _onnx("two members swapped", _swap_members, WEIGHTS, "hypernet.input.embedding"),
    _onnx("embedding off by one", _off_by_one, WEIGHTS, "hypernet.input.embedding"),
    _onnx("negative ids accepted", _accept_negative),
    _onnx("too large ids accepted", _accept_large),
    _onnx("id cut to 32 bits", _truncate_id),
    _onnx("no guard for unknown ids", _no_guard),
    _onnx("NaN turned into 0", _swallow_nan),
    _onnx("chunk transposed", _transposed_chunk, WEIGHTS, "group1.block1.conv1.weight"),
    _onnx("kernel transposed in space", _flipped_kernel, WEIGHTS, "group3.block1.conv1.weight"),
    _onnx("chunks joined in the wrong order", _wrong_order, WEIGHTS, "group3.block1.conv2.weight"),
    _onnx("chunk permuted", _permuted_chunk, WEIGHTS, "hypernet.group3.chunk0"),
    _onnx("chunks of a layer exchanged", _wrong_chunk, WEIGHTS, "group1.block1.conv1.weight"),
    _onnx("wrong stride", _wrong_stride, INFERENCE, "group3.block1.conv1"),
    _onnx("wrong padding", _wrong_padding, INFERENCE, "group2.block1.conv2"),
    _onnx("ReLU missing", _no_relu, INFERENCE, "group2.block1.norm2"),
    _onnx("batch-norm epsilon 1e-3", _epsilon, INFERENCE, "group1.block1.norm2"),
    _onnx("one batch-norm scale changed by 1 %", _one_norm_element, WEIGHTS, "group2.block1.norm1.weight"),
    _onnx("one generated weight changed by 1 %", _one_generated_element, WEIGHTS, "group2.block1.conv1.weight"),
    _onnx("float16 rounding of one kernel", _round_kernel, WEIGHTS, "group3.block1.conv1.weight"),
    _onnx("float16 rounding of one activation", _round_activation, INFERENCE, "group2.block1.norm2"),
    _onnx("statistics of another layer", _wrong_statistics, WEIGHTS, "group1.block1.norm1.running_mean"),
    _onnx("scale and shift swapped", _swapped_affine, WEIGHTS, "norm.weight"),
    _onnx("output bias dropped", _no_output_bias, INFERENCE, "output"),
    _onnx("batch mixing", _batch_mixing, INFERENCE, "logits"),
    _onnx("wrong image layout", _image_layout, INFERENCE, "input"),
    _onnx("normalised twice", _double_normalisation, INFERENCE, "input", kind="pixels"),
    _onnx("residual dropped", _no_residual, INFERENCE, "group1.block1"),
    _onnx("shortcut after the norm", _shortcut_after_norm, INFERENCE, "group2.block1.shortcut"),
    _onnx("softmax on the logits", _softmax, INFERENCE, "logits"),
    _onnx("maximum instead of mean in the pool", _max_pool, INFERENCE, "pool"),
    _onnx(
        "batch-ensemble: scale and shift swapped",
        _swapped_generated,
        WEIGHTS,
        "norm.weight",
        kind="batch-ensemble",
    ),
    _onnx("two outputs swapped", _swapped_outputs, file="hypernet.onnx"),
    _onnx("ReLU missing", _no_relu, file="network.onnx"),
    _onnx("batch-norm epsilon 1e-3", _epsilon, file="network.onnx"),
    Fault(
        name="stale weights file, checksums rewritten",
        artifact="onnx",
        plant=_stale_weights,
        stage=WEIGHTS,
        place="hypernet.input.embedding",
    ),
    Fault(
        name="one stored weight changed by 1 %, checksums rewritten",
        artifact="onnx",
        plant=_one_stored_element,
        stage=WEIGHTS,
        place="hypernet.group3.chunk0",
    ),
    Fault(name="weights file truncated", artifact="onnx", plant=_truncated, unreadable=True),
    Fault(
        name="weights file truncated, checksums rewritten",
        artifact="onnx",
        plant=_truncated_and_signed,
        unreadable=True,
    ),
    Fault(name="one bit of the weights file", artifact="onnx", plant=_one_bit, unreadable=True),
    Fault(name="a file missing", artifact="onnx", plant=_missing_file, unreadable=True),
)
