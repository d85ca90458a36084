"""Bundles as model hubs lay them out: every file a symlink into a store, under its hash."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from shared import Built
from special_files import make_pipe, make_zeros
from thorough import only

from hnexport.bundle import read_golden, read_manifest
from hnexport.bundle.checksums import check_files
from hnexport.bundle.sessions import confined_path, session_source
from hnexport.errors import BundleError
from hnexport.parity import VerifyOptions, verify
from hnexport.parity.locate import locate
from hnexport.runtime import load


def as_hub(bundle: Path, root: Path) -> Path:
    """`snapshots/abc/NAME -> ../../blobs/HASH`."""
    folder, store = root / "snapshots" / "abc", root / "blobs"
    folder.mkdir(parents=True)
    store.mkdir()
    for path in bundle.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, store / digest)
        (folder / path.name).symlink_to(Path("../../blobs") / digest)
    return folder


def with_weights_elsewhere(bundle: Path, root: Path) -> Path:
    folder = Path(shutil.copytree(bundle, root / "bundle"))
    (root / "store").mkdir()
    (folder / "weights.bin").rename(root / "store" / "w")
    (folder / "weights.bin").symlink_to(root / "store" / "w")
    return folder


def as_hard_links(bundle: Path, root: Path) -> Any:
    shutil.copytree(bundle, root / "first")
    (root / "second").mkdir()
    for path in (root / "first").iterdir():
        os.link(path, root / "second" / path.name)
    return root / "second"


LAYOUTS = {"hub": as_hub, "weights elsewhere": with_weights_elsewhere, "hard links": as_hard_links}


@pytest.fixture(params=only(LAYOUTS, "hub"))
def rearranged(request: pytest.FixtureRequest, built: Built, tmp_path: Path) -> Any:
    return LAYOUTS[request.param](built.path, tmp_path)


def test_every_artifact_is_verified_wherever_files_lie(rearranged: Path) -> None:
    report = verify(rearranged, VerifyOptions(members=(1,), batch_sizes=(1, 2), provider="cpu"))
    assert report.passed
    assert {"onnx", "onnx-materialised", "onnx-ensemble"} <= {artifact.artifact for artifact in report.artifacts}


def test_a_graph_is_walked_wherever_files_lie(rearranged: Path) -> None:
    assert locate(rearranged, "onnx", member=2).first is None


@pytest.mark.parametrize(
    "options",
    [{"strategy": "materialised"}, {"strategy": "generated"}, {"engine": "openvino"}],
    ids=lambda options: next(iter(options.values())),
)
def test_the_runtime_loads_wherever_files_lie(rearranged: Path, options: dict[str, Any]) -> None:
    golden = read_golden(rearranged)
    logits = load(rearranged, provider="cpu", checksums="always", **options).predict(golden.inputs["image"], member=1)
    np.testing.assert_allclose(logits, golden.outputs["logits"][1], rtol=1e-3, atol=1e-4)


def test_a_bundle_of_ordinary_files_is_opened_by_its_paths(built: Built) -> None:
    options = onnxruntime.SessionOptions()
    for name in ("model.onnx", "ensemble.onnx", "hypernet.onnx", "network.onnx"):
        assert session_source(built.path / name, options).model == str(built.path / name)
        with confined_path(built.path / name) as path:
            assert path == built.path / name


def test_a_private_view_is_gone_afterwards(built: Built, tmp_path: Path) -> None:
    folder = as_hub(built.path, tmp_path)
    with confined_path(folder / "model.onnx") as path:
        assert path.parent != folder
        assert (path.parent / "weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()
    assert not path.parent.exists()


def test_a_symlink_to_other_bytes_is_damage(built: Built, tmp_path: Path) -> None:
    folder = with_weights_elsewhere(built.path, tmp_path)
    data = bytearray((folder / "weights.bin").read_bytes())
    data[5000] ^= 1
    (tmp_path / "store" / "w").write_bytes(data)
    manifest = read_manifest(folder)
    with pytest.raises(BundleError, match=r"weights\.bin is damaged"):
        check_files(folder, manifest, manifest.files)


@pytest.mark.parametrize("make", [make_pipe, os.mkdir, make_zeros], ids=range(3))
def test_a_listed_file_that_is_no_file_is_refused_without_waiting(bundle: Path, make: Callable[[Path], object]) -> None:
    (bundle / "weights.bin").unlink()
    make(bundle / "weights.bin")
    manifest = read_manifest(bundle)
    with pytest.raises(BundleError, match=r"weights\.bin is a .*, expected a regular file"):
        check_files(bundle, manifest, manifest.files)
