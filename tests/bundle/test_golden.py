"""Golden samples fit the manifest, or are refused before anything is computed with them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from shared import Built
from strategies import json_values

from hnexport.bundle import read_golden, read_manifest
from hnexport.bundle.golden import write_golden
from hnexport.errors import BundleError
from hnexport.names import GOLDEN_FILE

KEY = "hnexport.golden"
IMAGE, LOGITS, EAGER, NOISE = "input.image", "output.logits", "eager.logits", "noise.logits"


def edit_golden(folder: Path, edit: Callable[[Any, Any], Any] | Callable[[Any, Any], None]) -> None:
    path = folder / "golden.safetensors"
    with safe_open(path, framework="numpy") as file:
        described = json.loads(file.metadata()[KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    edit(tensors, described)
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, {KEY: json.dumps(described)}
    )


def without_images(tensors: dict[str, NDArray[Any]], described: dict[str, Any]) -> None:
    tensors[IMAGE] = tensors[IMAGE][:0]
    tensors.update({name: tensors[name][:, :0] for name in (LOGITS, EAGER, NOISE)})
    described["kinds"] = []


def without_members(tensors: dict[str, NDArray[Any]], described: dict[str, Any]) -> None:
    tensors.update({name: tensors[name][:0] for name in ("members", LOGITS, EAGER, NOISE)})


WRONG = {
    "no images": (without_images, "0 samples and 3 members, expected at least one"),
    "no members": (without_members, "7 samples and 0 members, expected at least one"),
    "fewer classes": (
        lambda t, d: t.update({LOGITS: t[LOGITS][:, :, :3]}),
        r"logits of dtype F64 and shape \[3, 7, 5\]",
    ),
    "another size": (
        lambda t, d: t.update({IMAGE: np.zeros((7, 3, 5, 8), np.float32)}),
        "input.image of dtype F32",
    ),
    "pixels": (lambda t, d: t.update({IMAGE: np.zeros((7, 3, 8, 8), np.uint8)}), "found U8"),
    "scalar": (lambda t, d: t.update(members=np.array(1)), "expected output.logits"),
    "float members": (lambda t, d: t.update(members=t["members"].astype(np.float64)), "members of dtype I64"),
    "members that do not exist": (lambda t, d: t.update(members=t["members"] + 1), "different members of 0 to 2"),
    "a member twice": (lambda t, d: t.update(members=np.array([0, 1, 1])), "different members of 0 to 2"),
    "NaN": (lambda t, d: t[LOGITS].fill(np.nan), "logits holds numbers that are not finite"),
    "infinity": (lambda t, d: t[EAGER].fill(np.inf), "eager logits holds numbers that are not finite"),
    "no eager": (lambda t, d: t.pop(EAGER), "it has no tensor eager.logits"),
    "no kinds": (lambda t, d: d.update(kinds=[]), "it has 0 samples"),
    "kinds as numbers": (lambda t, d: d.update(kinds=[1] * 7), "expected a string"),
    "no fingerprints": (lambda t, d: d.update(fingerprints={}), "expected a fingerprint of each stored tensor"),
    "a fingerprint too many": (lambda t, d: d["fingerprints"].update(x="0" * 64), "found otherwise: x"),
    "spoils an input that is none": (lambda t, d: d.update(spoils={"x": ["logits"]}), "'x' or .* is no floating-point"),
    "spoils an output that is none": (lambda t, d: d.update(spoils={"image": ["x"]}), "is no floating-point input or"),
    "a rank of sixty": (
        lambda t, d: t.update({LOGITS: t[LOGITS].reshape(*t[LOGITS].shape, *[1] * 58)}),
        r"found F64 and .{,90}copy or build",
    ),
    "no digest": (lambda t, d: d["fingerprints"].update(dict.fromkeys(d["fingerprints"], "0")), "64 hexadecimal"),
}


@pytest.mark.parametrize("name", WRONG)
def test_golden_samples_that_do_not_fit_the_manifest_are_refused(bundle: Path, name: str) -> None:
    edit, message = WRONG[name]
    edit_golden(bundle, edit)
    with pytest.raises(BundleError, match=rf"golden\.safetensors cannot be read: .*{message}"):
        read_golden(bundle)


def test_one_image_of_one_member_is_enough(bundle: Path) -> None:
    def edit(tensors: dict[str, NDArray[Any]], described: dict[str, Any]) -> None:
        tensors.update({"members": tensors["members"][2:], IMAGE: tensors[IMAGE][:1]})
        tensors.update({name: tensors[name][2:, :1] for name in (LOGITS, EAGER, NOISE)})
        described["kinds"] = described["kinds"][:1]

    edit_golden(bundle, edit)
    assert read_golden(bundle, read_manifest(bundle)).outputs["logits"].shape == (1, 1, 5)


def test_an_input_without_axes_keeps_its_shape(bundle: Path, tmp_path: Path) -> None:
    golden = read_golden(bundle, read_manifest(bundle))
    write_golden(tmp_path, dataclasses.replace(golden, inputs={**golden.inputs, "scale": np.array(1.5, np.float32)}))
    assert load_file(tmp_path / GOLDEN_FILE)["input.scale"].shape == ()


HEADERS = {
    "a header of an exabyte": (2**60).to_bytes(8, "little") + b"{}",
    "images of terabytes": json.dumps({"images": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
    "a shape that overflows": json.dumps({"images": {"dtype": "F32", "shape": [2**62, 16], "data_offsets": [0, 0]}}),
    "deep": '{"images":' + "[" * 200_000,
    "nothing": b"",
    "zeros": b"\0" * 4096,
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_promises_too_much_is_refused(bundle: Path, name: str) -> None:
    header = HEADERS[name]
    data = header if isinstance(header, bytes) else len(header).to_bytes(8, "little") + header.encode()  # type: ignore[attr-defined] # what a test or a tool reaches for there
    (bundle / "golden.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match="golden.safetensors cannot be read"):
        read_golden(bundle)


@given(st.data())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_any_value_in_the_header_gives_golden_samples_or_a_bundle_error(
    built: Built, tmp_path_factory: pytest.TempPathFactory, data: DataObject
) -> None:
    source = (built.path / "golden.safetensors").read_bytes()
    size = int.from_bytes(source[:8], "little")
    header, body = json.loads(source[8 : 8 + size]), source[8 + size :]
    place, key = header, data.draw(st.sampled_from(sorted(header)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(st.integers(0, 2**64) | json_values)
    text = json.dumps(header).encode()
    folder = tmp_path_factory.mktemp("golden")
    (folder / "golden.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    try:
        read_golden(folder, built.manifest)
    except BundleError as error:
        str(error).encode()
