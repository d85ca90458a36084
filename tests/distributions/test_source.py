"""Source distributions: that of `hnexport` is the whole clone, and from both come the same wheels as from the clone."""

import email
import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock
from markdown_it import MarkdownIt
from wheels import EPOCH, Wheels

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "tools/packaging"
BUILD = """
import sys
sys.path[:0] = sys.argv[2:]
from {module} import build_sdist
build_sdist(sys.argv[1])
"""


def source_of(folder: Path, module: str, out: Path) -> Path:
    """The source distribution that a backend makes in a folder."""
    out.mkdir(exist_ok=True)
    path = [str(folder / "tools/packaging"), str(folder / "tools/packaging/runtime"), str(folder)]
    command = [sys.executable, "-c", BUILD.format(module=module), str(out), *path]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run(command, cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)
    (found,) = out.iterdir()
    return found


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """The source distributions of both."""
    folder = tmp_path_factory.mktemp("sources")
    with FileLock(tmp_path_factory.getbasetemp().parent / "wheels.lock"):
        return Wheels(
            runtime=source_of(PACKAGING / "runtime", "runtime_build", folder / "runtime"),
            hnexport=source_of(ROOT, "hnexport_build", folder / "hnexport"),
        )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.thorough
@pytest.mark.parametrize("which", ["runtime", "hnexport"])
def test_a_source_distribution_gives_itself_and_the_wheel_of_the_clone(
    which: str, sources: Wheels, wheels: Wheels, tmp_path: Path
) -> None:
    archive: Path = getattr(sources, which)
    top = unpacked(archive, tmp_path / "unpacked")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path / "wheel")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(top)], check=True, env=environment)
    (wheel,) = (tmp_path / "wheel").iterdir()
    assert sha256(wheel) == sha256(getattr(wheels, which))
    again = source_of(top, f"{which}_build", tmp_path / "again")
    assert (again.name, sha256(again)) == (archive.name, sha256(archive))


def test_it_holds_the_whole_clone(sources: Wheels) -> None:
    with tarfile.open(sources.hnexport) as opened:
        entries = {entry.name.partition("/")[2]: entry for entry in opened}
    for name in ("Makefile", "constraints.txt", "constraints.in", "tests/conftest.py", "docs/contributing/testing.md"):
        assert name in entries
    assert entries[".ci/run"].mode == 0o755
    assert {entry.mtime for entry in entries.values()} == {int(EPOCH)}
    if not (ROOT / ".git").exists():
        return
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(entries) == {"PKG-INFO", *(name for name in tracked.split("\0") if name and (ROOT / name).is_file())}


@pytest.mark.parametrize("which", ["runtime", "hnexport"])
def test_links_of_the_description_lead_somewhere_from_an_index(which: str, sources: Wheels) -> None:
    with tarfile.open(getattr(sources, which)) as opened:
        (name,) = (name for name in opened.getnames() if name.count("/") == 1 and name.endswith("PKG-INFO"))
        told = opened.extractfile(name)
        assert told is not None
        metadata = email.message_from_bytes(told.read())
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    body = metadata.get_payload()
    assert isinstance(body, str)
    inline = [token for block in MarkdownIt().parse(body) for token in block.children or ()]
    addresses = [token.attrs.get("href") or token.attrs.get("src") for token in inline]
    links = [str(address) for address in addresses if address]
    assert links
    relative = [link for link in links if not link.startswith(("https://", "#"))]
    assert not relative
    files = "https://github.com/hnexport/hnexport/blob/", "https://github.com/hnexport/hnexport/raw/"
    for link in links:
        if link.startswith(files):
            assert (ROOT / link.split("/", 6)[-1].partition("/")[2].partition("#")[0]).exists(), link
