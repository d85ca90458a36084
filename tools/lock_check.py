"""Whether constraints.txt covers every platform: what each extra needs there is resolved, and all of it is pinned.

    python tools/lock_check.py

Asks the package index for metadata and installs nothing; `make lock-check` runs it. The exit code is 1 where something
does not resolve or is not pinned.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLATFORMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_35",
    "macOS 15 arm64": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PROJECTS = {"hnexport": "pyproject.toml", "hnexport-runtime": "tools/packaging/runtime/pyproject.toml"}
ELSEWHERE = ("gpu",)  # extras for fewer platforms
WITHOUT_WHEELS = ("hypnettorch", "yattag")  # of Python alone, published as sources
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")


def main() -> int:
    """Print a line for each distribution, platform and Python; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", choices=PYTHONS, help="may be given several times; default: all")
    pythons = parser.parse_args().python or PYTHONS
    pinned = pins(ROOT / "constraints.txt")
    wrong = 0
    for what, project in PROJECTS.items():
        asked = requirements(tomllib.loads((ROOT / project).read_text(encoding="utf-8")))
        for platform, triple in PLATFORMS.items():
            for python in pythons:
                said = resolved(asked, triple, python, pinned)
                wrong += bool(said)
                where = f"{what} with every extra, {platform}, Python {python}"
                print(f"{where}: {said or 'resolves, all pinned'}", flush=True)
    return 1 if wrong else 0


def requirements(said: dict[str, Any]) -> list[str]:
    """What a distribution needs with every extra, but those of `ELSEWHERE`; its own extras are among them already."""
    project = said["project"]
    extras = {name: asked for name, asked in project["optional-dependencies"].items() if name not in ELSEWHERE}
    listed = [*project.get("dependencies", ()), *said.get("tool", {}).get("hnexport", {}).get("dependencies", ())]
    return [text for asked in (listed, *extras.values()) for text in asked if not text.startswith("hnexport[")]


def pins(path: Path) -> set[tuple[str, str]]:
    """Normalised names with their versions; a package may have several, for different Pythons."""
    found = filter(None, map(_PIN.match, path.read_text(encoding="utf-8").splitlines()))
    return {(re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2]) for pin in found}


def resolved(asked: list[str], triple: str, python: str, pinned: set[tuple[str, str]]) -> str:
    """Why it cannot be installed as it was tested, in one line; "" where it can."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.txt"
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
                *("--only-binary", ":all:", *(part for name in WITHOUT_WHEELS for part in ("--no-binary", name))),
                *("--python-platform", triple, "--python-version", python),
                *("--constraints", "constraints.txt", "--output-file", out, "-"),
            ],
            cwd=ROOT,
            env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "15.0"},
            input="\n".join(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return " ".join(done.stderr.split())[:400]
        loose = sorted("==".join(pin) for pin in pins(out) - pinned)
    return f"not pinned: {', '.join(loose)}" if loose else ""


if __name__ == "__main__":
    sys.exit(main())
