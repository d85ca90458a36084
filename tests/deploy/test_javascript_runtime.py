"""onnxruntime-web from a folder or from npm; here npm is a program that does what npm does on one point each."""

import os
import stat
import sys
import tarfile
from pathlib import Path

import pytest
from web_runtime import runtime_package

from hnexport.deploy.javascript_runtime import PROVIDER_FILES, TESTED_VERSION, open_runtime
from hnexport.errors import DeployError


def test_a_folder_with_the_package_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = runtime_package(tmp_path / "package", version="9.9.9")
    with open_runtime(folder) as found:
        assert found.version == "9.9.9"
        assert set(found.files) == {"package.json", *(name for names in PROVIDER_FILES.values() for name in names)}
        assert found.size_bytes("wasm") == sum(map(len, PROVIDER_FILES["wasm"]))


@pytest.mark.parametrize("name", ["package.json", "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = runtime_package(tmp_path / "package")
    (folder / name).unlink()
    with pytest.raises(DeployError, match=f"{name} is missing: runtime is the folder of npm's package"):
        open_runtime(folder).__enter__()


def test_another_package_is_refused(tmp_path: Path) -> None:
    folder = runtime_package(tmp_path / "package", name="onnxruntime-node")
    with pytest.raises(DeployError, match="its package.json has another name"):
        open_runtime(folder).__enter__()


@pytest.mark.parametrize("content", ["{", "[]", '"text"', ""])
def test_a_description_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    folder = runtime_package(tmp_path / "package")
    (folder / "package.json").write_text(content)
    with pytest.raises(DeployError, match=r"package\.json|another name"):
        open_runtime(folder).__enter__()


def program(folder: Path, body: str) -> Path:
    """A program called npm, first in the path."""
    folder.mkdir()
    path = folder / "npm"
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def test_without_npm_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="npm is not installed: install Node.js, or give runtime= a folder"):
        open_runtime(None).__enter__()


def test_npm_is_asked_for_the_tested_version_and_only_what_is_needed_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = runtime_package(tmp_path / "package", version=TESTED_VERSION)
    (package / "dist" / "other.mjs").write_text("not needed")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as archive:
        archive.add(package, "package")
    body = f"""
import shutil, json
assert sys.argv[1:3] == ["pack", "onnxruntime-web@{TESTED_VERSION}"], sys.argv
target = sys.argv[sys.argv.index("--pack-destination") + 1]
shutil.copy({str(tmp_path / "made.tgz")!r}, target + "/onnxruntime-web.tgz")
"""
    monkeypatch.setenv("PATH", f"{program(tmp_path / 'bin', body)}{os.pathsep}{os.environ['PATH']}")
    with open_runtime(None) as found:
        paths = list(found.files.values())
        assert found.version == TESTED_VERSION
        assert all(path.exists() for path in paths)
        assert not (paths[0].parent / "other.mjs").exists()
    assert not any(path.exists() for path in paths)


FAILURES = {
    "in JSON": 'print(\'{"error": {"code": "E404", "summary": "no such package"}}\'); sys.exit(1)',
    "in words": "sys.stderr.write('npm notice x\\nnpm error no such package\\n'); sys.exit(1)",
    "silent": "sys.exit(1)",
    "without a file": "pass",
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_of_npm_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    folder = program(tmp_path / "bin", FAILURES[how])
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(DeployError, match=f"npm could not get onnxruntime-web@{TESTED_VERSION}: ") as raised:
        open_runtime(None).__enter__()
    assert ("no such package" in str(raised.value)) == (how in ("in JSON", "in words"))
    assert "give runtime= a folder" in str(raised.value)
