"""Every tutorial is typed from start to end, with less training and a smaller network.

`make tutorials` does it in full, and compares what is printed.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pages.blocks import Block, Step, steps
from pages.commands import commands
from pages.typed import type_blocks
from typed_pages import TUTORIALS
from zygote import Zygote

LESS = {
    "deep-ensemble": {
        "epochs, batch = 10, 64": "epochs, batch = 1, 64",
        "from hnexport.build import build": "from hnexport.build import BuildOptions, build",
        '"bundles/digits")\nprint(built': '"bundles/digits", options=BuildOptions(formats=("onnx",)))\nprint(built',
    },
    "fewer-bits": {"--seconds 10": "--seconds 1", "--judge-on held-out.npz": "--judge-on held-out.npz --formats onnx"},
    "hypnettorch": {
        "epochs, batch = 10, 64": "epochs, batch = 1, 64",
        "--reference trained.safetensors": "--reference trained.safetensors --formats onnx",
    },
    "judged": {
        "epochs, batch = 40, 50": "epochs, batch = 15, 50",
        "--checkpoint digits.safetensors": "--checkpoint digits.safetensors --formats onnx",
    },
    "wide-resnet": {
        '"wrn-28-10"': '"wrn-10-1"',
        "members=10": "members=8",
        "options=BuildOptions(members=(2, 3, 7))": "options=BuildOptions(members=(2,))",
        "embedding_sizes=(10, 7, 14, 14, 14, 7, 7, 7)": "embedding_sizes=None",
    },
}
"""What a test types instead of a text of the page."""
GOES_ON = {"fewer-bits": "judged"}
PAGES = {page.stem: page for page in TUTORIALS if steps(page)}


@pytest.fixture(scope="module")
def type_tutorial(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Types a tutorial once, in the folder of the one that it goes on from; the folder."""
    typed: dict[str, Path] = {}

    def once(name: str) -> Path:
        if name not in typed:
            folder = once(GOES_ON[name]) if name in GOES_ON else tmp_path_factory.mktemp(name)
            os.chdir(folder)
            blocks = [(step.block.language, smaller(step.block), step.block.place) for step in steps(PAGES[name])]
            type_blocks(blocks, lambda code: shell(zygote, folder, code))
            typed[name] = folder
        return typed[name]

    return once


@pytest.mark.thorough
@pytest.mark.parametrize("name", PAGES)
def test_a_tutorial_can_be_typed(
    name: str, type_tutorial: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(".")  # back to here, whatever happens
    with torch.random.fork_rng():
        assert type_tutorial(name).is_dir()


@pytest.mark.parametrize("name", PAGES)
def test_every_output_that_a_tutorial_shows_is_there(name: str) -> None:
    shown = [step.shown for step in steps(PAGES[name]) if step.shown]
    assert shown
    assert all(block.code.strip() for block in shown), "python tools/tutorials.py --write"


@pytest.mark.parametrize("name", LESS)
def test_what_is_typed_instead_stands_in_the_page(name: str) -> None:
    typed = "".join(step.block.code for step in steps(PAGES[name]))
    assert all(text in typed for text in LESS[name])


@pytest.mark.parametrize("name", PAGES)
def test_blocks_that_print_show_what_they_print(name: str) -> None:
    silent = [step.block.place for step in steps(PAGES[name]) if prints(step) and step.shown is None]
    assert not silent


def prints(step: Step) -> bool:
    redirected = step.block.language == "sh" and all(command.out for command in commands(step.block))
    hnexport = step.block.language == "sh" and not redirected
    return hnexport or any(line.lstrip().startswith("print(") for line in step.block.code.splitlines())


def smaller(block: Block) -> str:
    code = block.code
    for text, instead in LESS.get(Path(block.page).stem, {}).items():
        code = code.replace(text, instead)
    return code


def shell(zygote: Zygote, folder: Path, code: str) -> str:
    """As bash would run it, but hnexport without its imports; what is behind a pipe is left out."""
    printed = ""
    for command in commands(Block(page="", line=1, language="sh", code=code)):
        if command.program == "hnexport":
            environment = {**os.environ, "COLUMNS": "110", "PYTHONPATH": os.pathsep.join(sys.path)}
            done = zygote.run(command.words[1:], cwd=folder, env=environment)
            assert done.returncode == 0, f"{command.text}: exit code {done.returncode}\n{done.stderr}"
            out = done.stdout
        else:
            out = subprocess.run(command.words, cwd=folder, capture_output=True, text=True, check=True).stdout
        if command.out is not None:
            (folder / command.out).write_text(out)
        printed += out
    return printed
