"""The two distributions as wheels, and virtual environments that hold nothing that is not put into them."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.requirements import Requirement
from wheels import EPOCH, Environment, Wheels

from hnexport.installed import installed_wheels

ROOT = Path(__file__).parents[2]
FROM_INDEX = os.environ.get("HNEXPORT_INDEX") == "1"
"""`make runtime-alone`: dependencies come from the package index, as for a user."""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Both, built from this clone with the setuptools that is installed."""
    folder = tmp_path_factory.mktemp("wheels")
    released = ["--config-settings", "runtime=released"]
    with FileLock(tmp_path_factory.getbasetemp().parent / "wheels.lock"):  # setuptools writes beside the sources
        for source, settings in ((ROOT / "tools/packaging/runtime", []), (ROOT, released)):
            options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), *settings]
            command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
            subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    (runtime,) = folder.glob("hnexport_runtime-*.whl")
    (hnexport,) = folder.glob("hnexport-*.whl")
    return Wheels(runtime=runtime, hnexport=hnexport)


@pytest.fixture(scope="module")
def alone(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with hnexport-runtime and what it depends on.

    Without the index, that is what this machine has of it: a path file leads to links to those distributions alone, so
    that torch is as absent as after an installation from the index.
    """
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    made = Environment(folder=folder / "venv")
    if FROM_INDEX:
        made.pip("install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{wheels.runtime}[cpu]")
        return made
    (links := folder / "links").mkdir()
    for distribution in closure(
        next(iter(installed_wheels())), "numpy", "safetensors", "pillow", "click", "rich"
    ).values():
        link(distribution, links)
    site = Path(made.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "links.pth").write_text(f"{links}\n")
    made.pip("install", "--quiet", "--no-index", wheels.runtime)
    return made


@pytest.fixture(scope="module")
def serving_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the extra `serve` brings, for a path; the environment itself stays as it is."""
    folder = tmp_path_factory.mktemp("serving")
    for distribution in closure("starlette", "uvicorn", "prometheus_client", "jinja2").values():
        link(distribution, folder)
    return folder


def closure(*names: str) -> dict[str, importlib.metadata.Distribution]:
    """Installed distributions with everything that they require."""
    found: dict[str, importlib.metadata.Distribution] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        needed = [Requirement(text) for text in found[name].requires or ()]
        pending += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def link(distribution: importlib.metadata.Distribution, links: Path) -> None:
    """Links to the top-level files and folders of an installed distribution."""
    tops = {Path(str(file)).parts[0] for file in distribution.files or ()}
    for top in tops - {"..", "__pycache__"}:
        if not (links / top).exists():
            (links / top).symlink_to(Path(str(distribution.locate_file(top))))
