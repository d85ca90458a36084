"""manifest.json."""

import json

import pytest

from hnexport.bundle import read_manifest, write_manifest
from hnexport.errors import BundleError


def change(bundle, edit):
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_a_manifest_comes_back_equal(bundle, tmp_path):
    manifest = read_manifest(bundle)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert (tmp_path / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()


def test_a_manifest_says_how_to_call_the_graph(bundle):
    manifest = read_manifest(bundle)
    assert [(i.name, i.dtype, i.shape) for i in manifest.inputs] == [
        ("cond_id", "int64", ()),
        ("image", "float32", ("batch", 3, 8, 8)),
    ]
    assert [(o.name, o.dtype, o.shape) for o in manifest.outputs] == [("logits", "float32", ("batch", 5))]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda m: m.update(schema="other"), "its schema is not 'hnexport-bundle'", id="another schema"),
        pytest.param(lambda m: m.update(schema_version=99), "schema version 99, this hnexport reads 1", id="version"),
        pytest.param(lambda m: m.update(extra=1), r"\$: unknown field 'extra'", id="unknown field"),
        pytest.param(lambda m: m.pop("files"), r"\$: field 'files' is missing", id="missing field"),
        pytest.param(
            lambda m: m["spec"].update(members="3"), r"\$\.spec\.members: expected an integer, found '3'", id="type"
        ),
        pytest.param(lambda m: m["spec"].update(members=0), "members must be at least 1", id="value"),
    ],
)
def test_a_manifest_that_is_not_valid_is_refused_with_the_reason(bundle, edit, message):
    change(bundle, edit)
    with pytest.raises(BundleError, match=message):
        read_manifest(bundle)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle: it has no manifest.json"):
        read_manifest(tmp_path)


def test_a_file_is_no_bundle(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="is not a bundle"):
        read_manifest(tmp_path / "file")


def test_a_truncated_manifest_is_refused(bundle):
    path = bundle / "manifest.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(BundleError, match=r"manifest.json cannot be read"):
        read_manifest(bundle)
