"""Type the tutorials from start to end, in full, each in a fresh folder, and compare what they print with the pages.

python tools/tutorials.py [PAGE …]               # make tutorials: exit code 1 if something printed differs in kind
python tools/tutorials.py [PAGE …] --write       # put what was printed into the pages
python tools/tutorials.py --python ENV/bin/python # in another environment, such as one with an installed wheel
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pages.blocks import ROOT, Step, blocks, steps
from pages.compared import differences

FOLDER = ROOT / "docs/tutorials"
GOES_ON = {"fewer-bits": "judged"}
"""Tutorials that go on in the folder of another one."""


def main() -> int:
    """Type the pages that are asked for; 0 if all print what they show."""
    parser = argparse.ArgumentParser(description="Type the tutorials from start to end.")
    parser.add_argument("pages", nargs="*", help="names such as deep-ensemble; default: all")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="of the environment to type them in")
    parser.add_argument("--write", action="store_true", help="put what was printed into the pages")
    parser.add_argument("--go-on", action="store_true", help="in what --keep kept, without the tutorials before it")
    parser.add_argument("--keep", type=Path, help="a folder that keeps what they make; default: a temporary one")
    arguments = parser.parse_args()
    asked = arguments.pages or sorted(page.stem for page in FOLDER.glob("*.md") if steps(page))
    with tempfile.TemporaryDirectory() as temporary:
        kept = (arguments.keep or Path(temporary)).resolve()
        unlike = sum(_tutorial(name, kept, arguments) for name in (asked if arguments.go_on else _ordered(asked)))
    return 1 if unlike else 0


def _ordered(names: list[str]) -> list[str]:
    """With those that they go on from, first."""
    with_earlier = {name: None for asked in names for name in (GOES_ON.get(asked), asked) if name}
    return sorted(with_earlier, key=lambda name: name in GOES_ON)


def _tutorial(name: str, kept: Path, arguments: argparse.Namespace) -> int:
    """How many blocks print something else than the page shows."""
    folder = kept / GOES_ON.get(name, name)
    if name not in GOES_ON and folder.exists():
        shutil.rmtree(folder)  # a reader starts in an empty one
    folder.mkdir(parents=True, exist_ok=True)
    typed, before = steps(FOLDER / f"{name}.md"), time.monotonic()
    printed = _typed(typed, folder, arguments.python)
    print(f"{name}: {len(typed)} blocks, {time.monotonic() - before:.0f} s")
    if arguments.write:
        _write(FOLDER / f"{name}.md", printed)
    return sum(_unlike(step, text) for step, text in zip(typed, printed, strict=True) if step.shown)


def _typed(typed: tuple[Step, ...], folder: Path, python: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as temporary:
        blocks, outputs = Path(temporary) / "blocks.json", Path(temporary) / "outputs.json"
        said = [(step.block.language, step.block.code, step.block.place) for step in typed]
        blocks.write_text(json.dumps(said), encoding="utf-8")
        program = Path(__file__).parent / "pages/typed.py"
        command = [python.absolute(), program, blocks, outputs]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / ".cache"), "MPLBACKEND": "agg"}
        subprocess.run(command, cwd=folder, env=environment, check=True)
        found: list[str] = json.loads(outputs.read_text(encoding="utf-8"))
        return found


def _unlike(step: Step, printed: str) -> int:
    assert step.shown is not None
    found = differences(step.shown.code, printed, times=step.shown.times)
    if found:
        print(f"{step.shown.place}: differs in kind", *found, sep="\n  ")
    return bool(found)


def _write(page: Path, printed: list[str]) -> None:
    blocks.cache_clear()  # the page may have been edited meanwhile
    lines = page.read_text(encoding="utf-8").split("\n")
    for step, text in reversed(list(zip(steps(page), printed, strict=True))):
        if step.shown is not None:
            first = step.shown.line - 1
            count = len(step.shown.code.splitlines())
            lines[first : first + count] = [line.rstrip() for line in text.strip("\n").splitlines()]
    page.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
