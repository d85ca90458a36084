"""manifest.json."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import small_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from shared import Built, built_list
from special_files import make_pipe, make_zeros
from strategies import json_values

from hnexport.bundle import Manifest, read_manifest, write_manifest
from hnexport.bundle.table_checks import check_lengths, check_tables
from hnexport.errors import BundleError, SpecError
from hnexport.records import from_json, to_json
from hnexport.spec.usage import Normalisation, Usage

SAID = Usage(
    normalisation=Normalisation(mean=(0.5,), std=(0.25, 0.5, 0.25)),
    class_names={"logits": ("a", "b", "c", "d", "e")},
    license="cc-by-4.0",
    assumed=("image-size",),
)
RECORD = {"size_bytes": 1, "sha256": "0" * 64}
PLACES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just([])
    | st.just({})
    | json_values
)


def change(bundle: Path, edit: Any) -> None:
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_a_manifest_comes_back_equal(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert (tmp_path / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()


def test_a_manifest_says_how_to_call_the_graph(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert [(i.name, i.dtype, i.shape) for i in manifest.inputs] == [
        ("cond_id", "int64", ()),
        ("image", "float32", ("batch", 3, 8, 8)),
    ]
    assert [(o.name, o.dtype, o.shape) for o in manifest.outputs] == [("logits", "float32", ("batch", 5))]


TRAINED = {
    "file": "r",
    "members": [0],
    "samples": 1,
    "outputs": ["logits"],
    "relative_l2": 0.0,
    "tolerance": 1e-5,
}


def trained(**changes: Any) -> Callable[[Any], Any]:
    return lambda m: m.update(as_trained={**TRAINED, **changes})


def tempered(**changes: str | float) -> Callable[[Any], Any]:
    found = {"output": "logits", "value": 2.0, "rows": 9, "source": "sha256:" + "0" * 64}
    return lambda m: m.update(temperature={**found, **changes})


def stopping(**changes: Any) -> Callable[[Any], Any]:
    found = {"order": [0, 1, 2], "confidence": 0.9, "least": 1, "precision": "float32", "members": 1.5}
    found |= {"rows": 9, "level": 0.95, "source": "sha256:" + "0" * 64, "max_accuracy_drop": 0.005}
    found |= changes
    return lambda m: m.update(anytime={name: value for name, value in found.items() if value is not None})


def used(**changes: Any) -> Callable[[Any], Any]:
    return lambda m: m.update(usage={**to_json(SAID), **changes})


def pictures(**changes: Any) -> Any:
    return used(normalisation={**to_json(SAID.normalisation), **changes})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda m: m.update(schema="other"), "its schema is not 'hnexport-bundle'", id="another schema"),
        pytest.param(lambda m: m.update(schema_version=99), "version 99, this hnexport reads 1 and 2", id="version"),
        pytest.param(lambda m: m.update(extra=1), r"\$: unknown field 'extra'", id="unknown field"),
        pytest.param(lambda m: m.pop("files"), r"\$: field 'files' is missing", id="missing field"),
        pytest.param(
            lambda m: m["source"]["spec"].update(members="3"), r"members: expected an integer, found '3'", id="type"
        ),
        pytest.param(lambda m: m["source"]["spec"].update(members=0), "members must be at least 1", id="value"),
        pytest.param(lambda m: m.update(schema_version=True), "schema version True", id="a truth as version"),
        pytest.param(lambda m: m.update(schema_version=1.0), r"schema version 1\.0", id="a fraction as version"),
        pytest.param(lambda m: m["files"].update({"../x": RECORD}), "'../x' is not the plain name", id="path"),
        pytest.param(lambda m: m["files"].update({"/etc/x": RECORD}), "is not the plain name", id="absolute"),
        pytest.param(lambda m: m["files"].update({"a\0": RECORD}), "is not the plain name", id="NUL in a name"),
        pytest.param(lambda m: m["files"].update({"\x1b[2J": RECORD}), "is not the plain name", id="escape in a name"),
        pytest.param(lambda m: m["files"].update({"manifest.json": RECORD}), "is not the plain name", id="itself"),
        pytest.param(
            lambda m: m["files"]["model.pt"].update(sha256="a"), "64 hexadecimal digits, found 'a'", id="hash"
        ),
        pytest.param(lambda m: m["files"]["model.pt"].update(size_bytes=-1), "found -1", id="negative size"),
        pytest.param(lambda m: m["files"]["model.pt"].update(size_bytes=10**40), "at most 64 bits", id="huge size"),
        pytest.param(
            lambda m: m["files"]["model.pt"].update(size_bytes=2**60), "size_bytes: expected 0 to", id="large"
        ),
        pytest.param(lambda m: m["files"].pop("model.pt"), "model.pt is missing, the format torch", id="format's file"),
        pytest.param(lambda m: m.update(formats=[]), r"\$\.formats: empty", id="no format"),
        pytest.param(lambda m: m["formats"].append("pt2"), "a format stands twice", id="format twice"),
        pytest.param(
            lambda m: m["formats"].remove("pt2"), "pt2 is missing, .* has its model.pt2", id="format left out"
        ),
        pytest.param(lambda m: m.update(onnx=None), r"\$\.onnx: expected exactly where", id="no onnx info"),
        pytest.param(lambda m: m["onnx"]["supplied"].append("x"), "'x' is no slot", id="supplied"),
        pytest.param(lambda m: m["inputs"].pop(), "signature is not that of the specification", id="inputs"),
        pytest.param(lambda m: m["inputs"][1].update(dtype="uint8"), "signature is not that", id="input dtype"),
        pytest.param(
            lambda m: m["inputs"][1].update(shape=["b", 3, 8, 9]),
            "signature is not",
            id="input shape",
        ),
        pytest.param(lambda m: m["outputs"][0].update(shape=["b", 6]), "signature is not that", id="output shape"),
        pytest.param(
            lambda m: m["parity"]["onnx"].update(relative_l2=-1), "expected a number of at least 0", id="figure"
        ),
        pytest.param(lambda m: m["parity"]["onnx"].update(members_checked=4), "expected 1 to 3, found 4", id="checked"),
        pytest.param(trained(relative_l2=2e-5), "an error of 2e-05 is above the tolerance", id="not as trained"),
        pytest.param(trained(file="a/b"), "is not the name of a file without its folder", id="trained file"),
        pytest.param(trained(members=[3]), "as_trained.members: expected members 0 to 2", id="trained member"),
        pytest.param(trained(samples=0), "as_trained.samples: expected at least 1, found 0", id="trained samples"),
        pytest.param(trained(outputs=["x"]), r"expected some of \['logits'\], found \['x'\]", id="trained output"),
        pytest.param(tempered(output="x"), "temperature.output: 'x' is no output of logits", id="tempered output"),
        pytest.param(tempered(value=0.0), "temperature.value: expected a number above 0, found 0", id="temperature"),
        pytest.param(tempered(rows=0), "temperature.rows: expected at least 1, found 0", id="tempered rows"),
        pytest.param(tempered(source="sha256:1"), "is not a digest", id="tempered source"),
        pytest.param(stopping(order=[0, 1]), r"anytime.order: expected each of 3 members once", id="order"),
        pytest.param(stopping(order=[0, 1, 1]), r"anytime.order: expected each of 3 members once", id="member twice"),
        pytest.param(stopping(confidence=1.0), "anytime.confidence: expected a number above 0 and below 1", id="sure"),
        pytest.param(stopping(level=0.0), "anytime.level: expected a number above 0 and below 1", id="level"),
        pytest.param(stopping(least=4), "anytime.least: expected 1 to 3 members, found 4", id="least"),
        pytest.param(stopping(members=0.5), "anytime.members: expected a mean of 1 to 3", id="fewer than one member"),
        pytest.param(
            stopping(least=2, members=1.5), "anytime.members: expected a mean of 2 to 3", id="fewer members than least"
        ),
        pytest.param(stopping(rows=0), "anytime.rows: expected at least 1, found 0", id="stopping rows"),
        pytest.param(stopping(precision="int9"), r"\$\.anytime\.precision", id="stopping precision"),
        pytest.param(stopping(max_accuracy_drop=None), "anytime: expected a stated loss", id="no stated loss"),
        pytest.param(stopping(max_changed=1.5), "anytime.max_changed: expected a number above 0", id="loss"),
        pytest.param(stopping(source="sha256:1"), "is not a digest", id="stopping source"),
        pytest.param(pictures(mean=[0.1, 0.2]), r"\$\.usage: mean needs 1 or 3 numbers", id="mean"),
        pytest.param(pictures(mean=[]), r"\$\.usage\.normalisation: mean and std need 1 number", id="no mean"),
        pytest.param(pictures(std=[0.0]), r"\$\.usage\.normalisation: mean and std must be finite", id="std"),
        pytest.param(pictures(std=["1"]), r"\$\.usage\.normalisation\.std\[0\]: expected a number", id="std's type"),
        pytest.param(
            used(class_names={"logits": ["a"]}), r"\$\.usage: logits has 5 classes, found 1", id="class names"
        ),
        pytest.param(used(class_names={"x": []}), r"\$\.usage: there is no output 'x'", id="class names of nothing"),
        pytest.param(
            used(class_names={"logits": ["\x1b[2J"] * 5}),
            r"\$\.usage: '\\x1b\[2J' is no name of a",
            id="escape in class",
        ),
        pytest.param(used(class_names={"logits": ["a" * 201] * 5}), r"\$\.usage: .{,120} is no name", id="long class"),
        pytest.param(used(license="all rights"), r"\$\.usage: 'all rights' is no SPDX", id="licence"),
        pytest.param(used(assumed=["\x1b"]), r"\$\.usage: assumed: expected at most 32 different words", id="assumed"),
        pytest.param(used(assumed=["a"] * 9), r"\$\.usage: assumed: expected at most 32", id="assumed twice"),
        pytest.param(used(licence="mit"), r"\$\.usage: unknown field 'licence'", id="unknown in usage"),
        pytest.param(lambda m: m["parity"].update(x=m["parity"]["onnx"]), "holds no such artifact", id="artifact"),
        pytest.param(lambda m: m.update(members=4), "members is not that of the specification", id="members"),
        pytest.param(lambda m: m["files"]["weights.bin"].update(size_bytes=10**7), "weights.bin has", id="surplus"),
        pytest.param(
            lambda m: m["source"]["spec"]["network"].update(blocks_per_group=200_000),
            "asks for 6000010 slots",
            id="blocks",
        ),
        pytest.param(lambda m: m["source"].update(family="../x"), "knows no family", id="family"),
        pytest.param(lambda m: m["inputs"][0].update(name="member"), "expected cond_id first", id="condition id"),
        pytest.param(lambda m: m["outputs"][0].update(axis=7), "logits need an axis of classes", id="axis"),
        pytest.param(lambda m: m["outputs"][0].update(kind="value"), "a value has no axis", id="kind"),
        pytest.param(lambda m: m["outputs"][0].update(dtype="int64"), "must be floating-point", id="whole logits"),
        pytest.param(lambda m: m["outputs"][0].update(dtype="float99"), "there is no dtype", id="dtype"),
        pytest.param(lambda m: m["outputs"].extend(m["outputs"] * 2000), "at most 1000 are read", id="outputs"),
        pytest.param(lambda m: m["slots"][0].update(shape=[2**49] * 5000), "has the shape", id="rank"),
        pytest.param(lambda m: m["slots"].extend(m["slots"] * 9000), "is larger than 16777216", id="slots"),
    ],
)
def test_a_manifest_that_is_not_valid_is_refused_with_the_reason(
    bundle: Path, edit: Callable[[Any], Any], message: str
) -> None:
    change(bundle, edit)
    with pytest.raises(BundleError, match=message):
        read_manifest(bundle)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda m: m["inputs"][1].update(dtype="bfloat16"), "which numpy does not have", id="input"),
        pytest.param(lambda m: m["outputs"][0].update(dtype="bfloat16"), "which numpy does not have", id="output"),
        pytest.param(lambda m: m["inputs"][1].update(name="a/b"), "cannot be the name of an input", id="a path"),
        pytest.param(
            lambda m: m["slots"][0].update(shape=[2**50] * 60),
            r"\$\.stored: expected .{,270}, found .{,400}$",
            id="huge",
        ),
    ],
)
def test_a_manifest_of_modules_that_is_not_valid_is_refused_with_the_reason(
    tmp_path: Path, edit: Callable[[Any], Any], message: str
) -> None:
    value = to_json(read_manifest(built_list("cnn").path))
    edit(value)
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(BundleError, match=message):
        read_manifest(tmp_path)


def test_what_is_said_of_a_bundle_is_read(bundle: Path) -> None:
    change(bundle, used())
    assert read_manifest(bundle).usage == SAID


def test_a_graph_that_takes_pixels_needs_no_normalisation(tmp_path: Path) -> None:
    value = to_json(read_manifest(small_bundle("pixels")))
    assert "usage" not in value
    value["usage"] = {"normalisation": {"mean": [0.5], "std": [0.5]}}
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(BundleError, match=r"\$\.usage: image is uint8: the graph normalises pixels itself"):
        read_manifest(tmp_path)


def _stacked() -> dict:
    """Tables of a list of modules, whose family knows no more than they say."""
    slots = [
        {"name": "a.weight", "dtype": "float32", "shape": [4, 4], "trained": True, "alias_of": None},
        {"name": "b.weight", "dtype": "float32", "shape": [4, 4], "trained": True, "alias_of": "a.weight"},
        {"name": "b.bias", "dtype": "float32", "shape": [4], "trained": True, "alias_of": None},
    ]
    common = {"dtype": "float32", "hypernet": None, "trained": True}
    stored = [
        {"name": "member.a.weight", "shape": [3, 4, 4], "kind": "member", "slot": "a.weight", **common},
        {"name": "shared.b.bias", "shape": [4], "kind": "shared", "slot": "b.bias", **common},
    ]
    return {"slots": slots, "stored": stored}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda t: t["slots"][1].update(alias_of="x"), "which is no slot of its own", id="tied to nothing"),
        pytest.param(lambda t: t["slots"][1].update(alias_of="b.weight"), "no slot of its own", id="tied to itself"),
        pytest.param(lambda t: t["slots"][1].update(shape=[4, 5]), "another dtype or shape", id="tied to another"),
        pytest.param(lambda t: t["slots"][2].update(name="a.weight"), "a name stands twice", id="a slot twice"),
        pytest.param(lambda t: t["slots"][2].update(dtype="float99"), "there is no dtype", id="dtype"),
        pytest.param(lambda t: t["slots"][2].update(shape=[-1]), "has the shape", id="below zero"),
        pytest.param(lambda t: t["slots"][2].update(shape=[2**45]), "does not fill", id="huge"),
        pytest.param(lambda t: t["slots"][2].update(name="\x1b[2J"), "cannot be printed", id="escape"),
        pytest.param(lambda t: t["stored"][0].update(shape=[4, 4, 4]), "does not have 3 members", id="members"),
        pytest.param(lambda t: t["stored"][0].update(slot="../x"), "which is no slot of its own", id="no slot"),
        pytest.param(lambda t: t["stored"][0].update(slot="b.weight"), "no slot of its own", id="fills an alias"),
        pytest.param(lambda t: t["stored"][1].update(shape=[5]), "does not fill", id="another shape"),
        pytest.param(lambda t: t["stored"][1].update(dtype="int64"), "does not fill", id="another dtype"),
        pytest.param(lambda t: t["stored"].append(t["stored"][1]), "a name stands twice", id="stored twice"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(built: Built, edit: Callable[[Any], Any], message: str) -> None:
    tables = _stacked()
    check_tables(_with_tables(built.manifest, tables))
    edit(tables)
    with pytest.raises((BundleError, SpecError), match=message):
        manifest = _with_tables(built.manifest, tables)
        check_lengths(manifest)
        check_tables(manifest)


def _with_tables(manifest: Manifest, tables: dict) -> Manifest:
    value = {**to_json(manifest), **tables}
    return from_json(Manifest, value)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle: it has no manifest.json"):
        read_manifest(tmp_path)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="is not a bundle"):
        read_manifest(tmp_path / "file")


def test_a_truncated_manifest_is_refused(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(BundleError, match=r"manifest.json cannot be read"):
        read_manifest(bundle)


RAW = {
    "deep": lambda text: "[" * 100_000 + "]" * 100_000,
    "thousands of digits": lambda text: text.replace('"members": 3', '"members": ' + "9" * 5000),
    "hundreds of digits": lambda text: text.replace('"dropout": 0.0', '"dropout": ' + "9" * 400),
    "NaN": lambda text: text.replace('"dropout": 0.0', '"dropout": NaN'),
    "byte-order mark": lambda text: "\ufeff" + text,
    "half a surrogate pair": lambda text: text.replace('"origin": "', '"origin": "\\ud800'),
    "a key twice": lambda text: text.replace('"schema":', '"schema": "x", "schema":'),
    "too long": lambda text: text + " " * 2**24,
}


@pytest.mark.parametrize("name", RAW)
def test_odd_json_is_refused(bundle: Path, name: str) -> None:
    path = bundle / "manifest.json"
    text = RAW[name](path.read_text(encoding="utf-8"))
    assert text != path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"manifest\.json (cannot be read|is not valid)"):
        read_manifest(bundle)


@pytest.mark.parametrize("make", [make_pipe, os.mkdir, make_zeros], ids=range(3))
def test_a_manifest_that_is_no_file_is_refused_without_waiting(bundle: Path, make: Callable[..., Any]) -> None:
    (bundle / "manifest.json").unlink()
    make(bundle / "manifest.json")
    with pytest.raises(BundleError, match="expected a regular file"):
        read_manifest(bundle)


@given(data=st.data())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_any_value_in_any_place_gives_a_manifest_or_a_bundle_error(built: Built, data: DataObject) -> None:
    """The manifest with one value replaced, at any depth."""
    folder = built.path
    value = json.loads((folder / "manifest.json").read_text(encoding="utf-8")) | {"usage": to_json(SAID)}
    place, key = value, data.draw(st.sampled_from(sorted(value)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(PLACES)
    with tempfile.TemporaryDirectory() as copy:
        (Path(copy) / "manifest.json").write_text(json.dumps(value), encoding="utf-8")
        try:
            found = read_manifest(Path(copy))
        except BundleError as error:
            str(error).encode()
            return
        write_manifest(Path(copy), found)
        assert read_manifest(Path(copy)) == found
