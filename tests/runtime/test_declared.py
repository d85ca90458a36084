"""A file whose inputs and outputs are not the manifest's is named when it is loaded, with both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from hnexport.bundle import read_manifest, write_manifest
from hnexport.bundle.checksums import record_file
from hnexport.errors import BundleError
from hnexport.runtime import load


def edit(bundle: Path, name: str, change: Any) -> None:
    model = onnx.load(bundle / name, load_external_data=False)
    change(model.graph)
    (bundle / name).write_bytes(model.SerializeToString())
    manifest = read_manifest(bundle)
    write_manifest(bundle, replace(manifest, files={one: record_file(bundle / one) for one in manifest.files}))


def to_double(graph: onnx.GraphProto) -> None:
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = ["planted" if name == output.name else name for name in node.output]
    graph.node.append(helper.make_node("Cast", ["planted"], [output.name], to=TensorProto.DOUBLE))
    output.type.tensor_type.elem_type = TensorProto.DOUBLE


def further(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("temperature", TensorProto.FLOAT, [1]))


def rename(graph: onnx.GraphProto) -> None:
    output = graph.output[0]
    graph.node.append(helper.make_node("Identity", [output.name], ["another"]))
    output.name = "another"


@pytest.mark.each_once
@pytest.mark.parametrize(
    ("strategy", "name"),
    [("generated", "model.onnx"), ("materialised", "network.onnx"), ("materialised", "hypernet.onnx")],
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (to_double, r"expected .* as float32 .* as the manifest says, found tensor\(double\)"),
        (rename, "as the manifest says, found none"),
        (further, "takes 'temperature', which the manifest does not name"),
    ],
    ids=["another dtype", "another name", "a further input"],
)
def test_another_signature_is_refused_at_load(
    own_bundle: Path, strategy: str, name: str, change: Callable[[Any], Any], message: str
) -> None:
    edit(own_bundle, name, change)
    with pytest.raises(BundleError, match=rf"{name}.*{message}"):
        load(own_bundle, provider="cpu", strategy=strategy)
