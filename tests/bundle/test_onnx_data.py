"""Where ONNX files say that their tensors lie is checked before anything is opened or allocated."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from hnexport.bundle import read_manifest
from hnexport.bundle.onnx_data import check_model, embed_tensors, read_model, relocate
from hnexport.bundle.onnx_tensors import tensor_values
from hnexport.bundle.restore import restore_tensors
from hnexport.errors import BundleError


def edit_places(
    bundle: Path, entries: dict[str, str], dims: list[int] | None = None, data_type: int | None = None
) -> None:
    """Change the place of every external tensor of model.onnx."""
    model = onnx.load(bundle / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            for entry in tensor.external_data:
                entry.value = str(entries.get(entry.key, entry.value))
            tensor.dims[:] = tensor.dims if dims is None else dims
            tensor.data_type = data_type or tensor.data_type
    (bundle / "model.onnx").write_bytes(model.SerializeToString())


WRONG = {
    "above": ({"location": "../secret.bin"}, {}, "which is no file of this folder"),
    "through a folder": ({"location": "sub/../../secret.bin"}, {}, "which is no file of this folder"),
    "absolute": ({"location": "/etc/passwd"}, {}, "which is no file of this folder"),
    "in a folder": ({"location": "./sub/weights.bin"}, {}, "which is no file of this folder"),
    "unlisted": ({"location": "other.bin"}, {}, "which is no file of this folder"),
    "nowhere": ({"location": ""}, {}, "which is no file of this folder"),
    "NUL": ({"location": "weights.bin\0"}, {}, "which is no file of this folder"),
    "negative offset": ({"offset": -4096}, {}, "has the offset '-4096'"),
    "offset in words": ({"offset": "abc"}, {}, "has the offset 'abc'"),
    "offset of thousands of digits": ({"offset": "9" * 5000}, {}, "has the offset '9999"),
    "offset beyond the file": ({"offset": 10**15}, {}, "ends at byte 1000000000"),
    "another length": ({"length": 10**15}, {}, "takes .* bytes, its place has 1000000000000000"),
    "10^18 elements": ({}, {"dims": [10**9, 10**9]}, "takes 4000000000000000000 bytes"),
    "negative sizes": ({}, {"dims": [-1, -480]}, "expected sizes of at least 0"),
    "strings": ({}, {"data_type": TensorProto.STRING}, "which is none of numbers"),
    "unknown dtype": ({}, {"data_type": 200}, "which is none of numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_place_that_is_not_inside_a_listed_file_is_refused(bundle: Path, name: str) -> None:
    entries, fields, message = WRONG[name]
    (bundle / "other.bin").write_bytes(bytes(10**6))
    edit_places(bundle, entries, **fields)
    manifest = read_manifest(bundle)
    with pytest.raises(BundleError, match=message):
        check_model(bundle / "model.onnx", manifest.files)
    with pytest.raises(BundleError, match=message):
        restore_tensors(bundle, manifest)


@pytest.mark.parametrize("file", ["model.onnx", "ensemble.onnx", "hypernet.onnx", "network.onnx"])
def test_the_files_of_a_bundle_pass(bundle: Path, file: str) -> None:
    check_model(bundle / file, read_manifest(bundle).files)


GARBAGE = {"zeros": b"\0" * 100, "nothing": b"", "text": b"not a graph", "a message without a graph": b"\x08\x0a"}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(GARBAGE[name])
    with pytest.raises(BundleError, match=r"model\.onnx is not an ONNX file"):
        read_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("size", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(bundle: Path, size: float) -> None:
    data = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(data[: int(size * len(data))])
    with pytest.raises(BundleError, match=r"model\.onnx"):
        check_model(bundle / "model.onnx")


@pytest.mark.parametrize("raw", [b"", b"\0" * 12], ids=["no bytes", "other bytes"])
def test_an_inner_tensor_that_promises_more_than_it_holds_is_refused(tmp_path: Path, raw: bytes) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**9, 10**9], raw_data=raw)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])], "g", [], [helper.make_tensor_value_info("y", 1, None)], [tensor]
    )
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(BundleError, match="takes 4000000000000000000 bytes, the file holds"):
        check_model(tmp_path / "m.onnx")
    with pytest.raises(BundleError, match="takes 4000000000000000000 bytes"):
        tensor_values(tensor, tmp_path / "m.onnx")


def test_tensors_can_be_moved_into_the_model(bundle: Path) -> None:
    model = read_model(bundle / "ensemble.onnx")
    embed_tensors(model, bundle / "ensemble.onnx", read_manifest(bundle).files)
    (bundle / "weights.bin").unlink()
    (bundle / "ensemble.onnx").write_bytes(model.SerializeToString())
    check_model(bundle / "ensemble.onnx")


def test_a_relocated_model_names_the_files_that_symlinks_lead_to(bundle: Path) -> None:
    (bundle / "store").mkdir()
    (bundle / "weights.bin").rename(bundle / "store" / "a1b2")
    (bundle / "weights.bin").symlink_to("store/a1b2")
    model = read_model(bundle / "ensemble.onnx")
    assert relocate(model, bundle / "ensemble.onnx") == (bundle / "store").resolve()
    places = {entry.value for t in model.graph.initializer for entry in t.external_data if entry.key == "location"}
    assert places == {"a1b2"}


def calls(number: int, target: int) -> onnx.FunctionProto:
    """The function `F<number>`, which calls another one twice."""
    nodes = [helper.make_node(f"F{target}", [name], [out], domain="z") for name, out in (("a", "b"), ("b", "c"))]
    return helper.make_function("z", f"F{number}", ["a"], ["c"], nodes, [helper.make_opsetid("z", 1)])


FUNCTIONS = {
    "doubles forty times": ([calls(number, number + 1) for number in range(40)], "stand for .* nodes, at most"),
    "calls itself": ([calls(0, 0)], "or themselves"),
    "calls in a ring": ([calls(0, 1), calls(1, 0)], "or themselves"),
    "has a tensor outside": (
        [
            helper.make_function(
                "z",
                "F0",
                ["a"],
                ["c"],
                [helper.make_node("Constant", [], ["c"], value=TensorProto(data_location=1, data_type=1, dims=[1]))],
                [helper.make_opsetid("", 18)],
            )
        ],
        "which is no file of this folder",
    ),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions_that_no_runtime_should_be_given_are_refused(tmp_path: Path, case: str) -> None:
    functions, message = FUNCTIONS[case]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("F0", ["x"], ["y"], domain="z")], "g", value[:1], value[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("z", 1)]
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, functions=functions, opset_imports=opsets).SerializeToString())
    with pytest.raises(BundleError, match=message):
        check_model(path)
