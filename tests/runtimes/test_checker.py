"""Every ONNX file of a bundle is one that onnx itself loads and finds valid."""

import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import KINDS, small_bundle

from hnexport.bundle.manifest import read_manifest
from hnexport.names import COND_ID, ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE, SUPPLIED_FILE
from hnexport.summaries import MEMBER

FILES = (MODEL_FILE, ENSEMBLE_FILE, HYPERNET_FILE, NETWORK_FILE)


@pytest.fixture(scope="module", params=KINDS)
def complete(request, tmp_path_factory):
    """A bundle with the tensors of member 1 beside it."""
    folder, bundle = tmp_path_factory.mktemp("complete"), small_bundle(request.param)
    for path in bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    supplied = read_manifest(bundle).onnx.supplied
    session = onnxruntime.InferenceSession(bundle / HYPERNET_FILE, providers=["CPUExecutionProvider"])
    tensors = session.run(list(supplied), {COND_ID: np.array(1)})
    (folder / SUPPLIED_FILE).write_bytes(b"".join(tensor.tobytes() for tensor in tensors))
    return folder


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_loaded_with_its_weights_and_passes_the_full_check(complete, file):
    model = onnx.load(complete / file)
    assert all(initializer.data_location != onnx.TensorProto.EXTERNAL for initializer in model.graph.initializer)
    onnx.checker.check_model(complete / file, full_check=True)
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("file", FILES)
def test_axes_of_any_size_have_the_names_of_the_signature(complete, file):
    signature = read_manifest(complete).signature
    named = {
        size for tensor in (*signature.inputs, *signature.outputs) for size in tensor.shape if isinstance(size, str)
    }
    graph = onnx.load(complete / file, load_external_data=False).graph
    graphs = [graph, *(attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))]
    found = {
        axis.dim_param
        for one in graphs
        for value in (*one.input, *one.output, *one.value_info)
        for axis in value.type.tensor_type.shape.dim
        if axis.dim_param
    }
    assert found <= named | {MEMBER}
