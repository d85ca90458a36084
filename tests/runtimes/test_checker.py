"""Every ONNX file of a bundle is one that onnx itself loads and finds valid."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from thorough import only
from written import ALL_KINDS, written

from hnexport.names import COND_ID, ENSEMBLE_FILE, HYPERNET_FILE, MODEL_FILE, NETWORK_FILE, SUPPLIED_FILE, WEIGHTS_FILE
from hnexport.spec import MEMBER, Signature

FILES = (MODEL_FILE, ENSEMBLE_FILE, HYPERNET_FILE, NETWORK_FILE)

IN_EVERY_RUN = ("hypernet", "batch-ensemble", "pixels", "list of CNNs")


@pytest.fixture(scope="module", params=only(ALL_KINDS, *IN_EVERY_RUN))
def complete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Signature]:
    """A bundle with the tensors of member 1 beside it."""
    files = written(request.param)
    folder = tmp_path_factory.mktemp("complete")
    for name in (*FILES, WEIGHTS_FILE):
        (folder / name).write_bytes((files.folder / name).read_bytes())
    session = onnxruntime.InferenceSession(folder / HYPERNET_FILE, providers=["CPUExecutionProvider"])
    tensors = session.run(list(files.supplied), {COND_ID: np.array(1)})
    (folder / SUPPLIED_FILE).write_bytes(b"".join(tensor.tobytes() for tensor in tensors))
    return folder, files.signature


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_loaded_with_its_weights_and_passes_the_full_check(
    complete: tuple[Path, Signature], file: str
) -> None:
    folder, _ = complete
    model = onnx.load(folder / file)
    assert all(initializer.data_location != onnx.TensorProto.EXTERNAL for initializer in model.graph.initializer)
    onnx.checker.check_model(folder / file, full_check=True)
    onnx.checker.check_model(model, full_check=True)


def test_batch_norms_have_constant_parameters_and_stay_where_they_fold(complete: tuple[Path, Signature]) -> None:
    folder, _ = complete
    norms = {}
    for file in FILES:
        graph = onnx.load(folder / file, load_external_data=False).graph
        held = {tensor.name for tensor in graph.initializer}
        bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
        held.update(tensor.name for body in bodies for tensor in body.initializer)
        found = [node for one in (graph, *bodies) for node in one.node if node.op_type == "BatchNormalization"]
        assert all(held.issuperset(node.input[1:]) for node in found)
        norms[file] = len(found)
    assert norms[MODEL_FILE] == norms[ENSEMBLE_FILE] in (0, norms[NETWORK_FILE])


@pytest.mark.parametrize("file", FILES)
def test_axes_of_any_size_have_the_names_of_the_signature(complete: tuple[Path, Signature], file: str) -> None:
    folder, signature = complete
    named = {
        size for tensor in (*signature.inputs, *signature.outputs) for size in tensor.shape if isinstance(size, str)
    }
    graph = onnx.load(folder / file, load_external_data=False).graph
    graphs = [graph, *(attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))]
    found = {
        axis.dim_param
        for one in graphs
        for value in (*one.input, *one.output, *one.value_info)
        for axis in value.type.tensor_type.shape.dim
        if axis.dim_param
    }
    assert found <= named | {MEMBER}
