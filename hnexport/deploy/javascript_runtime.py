"""onnxruntime-web, the runtime that the page loads: from npm, or from a folder that holds its package."""

import contextlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hnexport.errors import DeployError
from hnexport.reading import ReadError, parse_json, read_bytes
from hnexport.spelling import spelled
from hnexport.text import shorten

__all__ = ["PROVIDER_FILES", "TESTED_VERSION", "RuntimePackage", "open_runtime"]

PACKAGE = "onnxruntime-web"
TESTED_VERSION = "1.30.0"
"""What npm is asked for; the page is tested with it."""
PROVIDER_FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
        "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
    }
)
"""What a browser loads of the package for each provider."""
_DESCRIPTION = "package.json"
_SECONDS = 900  # for 40 MB over a slow line
_MOST_BYTES = 2**20  # of package.json


@dataclass(frozen=True, kw_only=True)
class RuntimePackage:
    """The package's files where they are now, by the names that they get in the site."""

    version: str
    files: Mapping[str, Path]

    def size_bytes(self, provider: str) -> int:
        """What a browser loads for a provider."""
        return sum(self.files[name].stat().st_size for name in PROVIDER_FILES[provider])


@contextlib.contextmanager
def open_runtime(folder: Path | None) -> Iterator[RuntimePackage]:
    """The package in `folder`, or, with None, the tested version from npm, for as long as the body runs.

    Raises:
        DeployError: npm is missing or cannot get the package, or the folder does not hold it.
    """
    if folder is not None:
        yield _package(folder)
        return
    with tempfile.TemporaryDirectory(prefix="hnexport-", ignore_cleanup_errors=True) as taken:
        yield _package(_from_npm(Path(taken)))


def _package(folder: Path) -> RuntimePackage:
    dist = folder / "dist"
    paths = {name: dist / name for names in PROVIDER_FILES.values() for name in names}
    paths[_DESCRIPTION] = folder / _DESCRIPTION
    missing = next((path for path in paths.values() if not path.is_file()), None)
    if missing is not None:
        raise DeployError(
            f"{missing} is missing: {spelled('runtime', '--runtime')} is the folder of npm's package {PACKAGE}, with "
            f"package.json and dist/, for instance node_modules/{PACKAGE} (tested: {TESTED_VERSION})"
        )
    try:
        described: Any = parse_json(read_bytes(paths[_DESCRIPTION], _MOST_BYTES), _DESCRIPTION)
    except ReadError as error:
        raise DeployError(f"{paths[_DESCRIPTION]} cannot be read: {error}") from error
    if not isinstance(described, dict) or described.get("name") != PACKAGE:
        raise DeployError(f"{folder} does not hold npm's package {PACKAGE}: its package.json has another name")
    return RuntimePackage(version=str(described.get("version")), files=paths)


def _from_npm(folder: Path) -> Path:
    npm = shutil.which("npm")
    without = f"or give {spelled('runtime=', '--runtime')} a folder with npm's package {PACKAGE}"
    if npm is None:
        raise DeployError(f"the page needs {PACKAGE} and npm is not installed: install Node.js, {without}")
    wanted = f"{PACKAGE}@{TESTED_VERSION}"
    try:
        done = subprocess.run(
            [npm, "pack", wanted, "--json", "--ignore-scripts", "--pack-destination", str(folder)],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_SECONDS,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        raise DeployError(f"npm did not get {wanted} within {_SECONDS} s: try again, {without}") from None
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise DeployError(
            f"npm could not get {wanted}: {_reason(done)}; is the network reachable? Try again, {without}"
        )
    return _unpacked(archives[0], folder / "package")


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """The words of npm: with `--json` an object on standard output, otherwise lines on standard error."""
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        summary = json.loads(done.stdout)["error"]["summary"]
        if summary:
            return shorten(summary)
    lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
    return shorten(lines[0]) if lines else f"it ended with {done.returncode}"


def _unpacked(archive: Path, folder: Path) -> Path:
    """The files that are needed, and nothing else of the archive."""
    (folder / "dist").mkdir(parents=True)
    wanted = [_DESCRIPTION, *(f"dist/{name}" for names in PROVIDER_FILES.values() for name in names)]
    with tarfile.open(archive) as packed:
        for name in wanted:
            with contextlib.suppress(KeyError):  # said by `_package`
                content = packed.extractfile(f"package/{name}")
                if content is not None:
                    with content, (folder / name).open("wb") as file:
                        shutil.copyfileobj(content, file)
    return folder
