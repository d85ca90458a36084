"""A container lives as long as its writer; then the next run brings back what it moved away, and removes the rest."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnexport.publishing import Contents, PlainMoves, Rules, SystemMoves, check_place, list_tree, staged_folder

PRELUDE = """
import os, signal, sys
from itertools import count
from pathlib import Path
from hnexport.publishing import Contents, PlainMoves, Rules, SystemMoves, list_tree, staged_folder

target = Path(sys.argv[1])
REPLACE = Rules(replaces=lambda path: Contents(ours=frozenset(list_tree(path))))

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def write(folder, text):
    for name in ("one", "two", "three"):
        (folder / name).write_text(text)
"""
REPLACE = Rules(replaces=lambda path: Contents(ours=frozenset(list_tree(path))))


def names(folder: Path) -> list[Any]:
    return sorted(path.name for path in folder.iterdir())


def start(target: Path, code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(target)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_killed(target: Path, code: str) -> None:
    process = start(target, code)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def next_run(parent: Path) -> None:
    with staged_folder(parent / "next"):
        pass
    (parent / "next").rmdir()


def whole(target: Path) -> str:
    """The text that all three files hold."""
    (text,) = {(target / name).read_text() for name in ("one", "two", "three")}
    return text


def old_at(target: Path) -> None:
    target.mkdir()
    for name in ("one", "two", "three"):
        (target / name).write_text("old")


def test_a_killed_writers_container_is_removed_by_the_next(tmp_path: Path) -> None:
    run_killed(tmp_path / "target", "with staged_folder(target) as folder: write(folder, 'half'); kill()")
    assert [path.name for path in tmp_path.glob(".hnexport-*-target/new/*")]
    next_run(tmp_path)
    assert names(tmp_path) == []


def test_a_running_writers_container_stays_whoever_looks(tmp_path: Path) -> None:
    process = start(
        tmp_path / "target",
        """
        with staged_folder(target) as folder:
            write(folder, "whole")
            print("ready", flush=True)
            sys.stdin.read()
        """,
    )
    assert process.stdout.readline() == "ready\n"
    before = names(tmp_path)
    next_run(tmp_path)
    with staged_folder(tmp_path / "outer"):
        next_run(tmp_path)  # nor does a process remove its own
    (tmp_path / "outer").rmdir()
    assert names(tmp_path) == before
    process.communicate("")
    assert process.returncode == 0
    assert names(tmp_path) == ["target"]
    assert whole(tmp_path / "target") == "whole"


SOMEBODYS = {
    "without a marker": None,
    "with another marker": "my own marker\n",
    "with another schema": '{"schema": "something", "target": "bundle", "new": "new"}\n',
    "with an empty marker, as of a writer that has just begun": "",
    "whose marker leaves the folder": '{"schema": "hnexport-staging", "target": "../bundle", "new": "new"}\n',
    "whose marker names another file": '{"schema": "hnexport-staging", "target": "bundle", "new": "../new"}\n',
}


@pytest.mark.parametrize("marker", SOMEBODYS.values(), ids=SOMEBODYS)
def test_a_folder_of_that_name_is_somebodys_if_it_has_no_marker_of_ours(tmp_path: Path, marker: str | None) -> None:
    folder = tmp_path / ".hnexport-123456-abc-bundle"
    (folder / "new").mkdir(parents=True)
    (folder / "new" / "thesis.txt").write_text("precious")
    if marker is not None:
        (folder / "marker").write_text(marker)
    before = sorted(list_tree(tmp_path))
    next_run(tmp_path)
    assert sorted(list_tree(tmp_path)) == before


def test_a_marker_that_is_a_pipe_or_a_link_hangs_nothing(tmp_path: Path) -> None:
    (tmp_path / ".hnexport-1-a").mkdir()
    os.mkfifo(tmp_path / ".hnexport-1-a" / "marker")
    (tmp_path / ".hnexport-2-b").mkdir()
    (tmp_path / ".hnexport-2-b" / "marker").symlink_to("/dev/zero")
    (tmp_path / ".hnexport-3-c").symlink_to(".hnexport-1-a")
    before = names(tmp_path)
    next_run(tmp_path)
    assert names(tmp_path) == before


@pytest.mark.parametrize("name", [".hnexport-1-copy", ".hnexport-2-target"])
def test_a_copy_of_a_container_is_somebodys(tmp_path: Path, name: str) -> None:
    run_killed(tmp_path / "target", "with staged_folder(target) as folder: write(folder, 'half'); kill()")
    (container,) = tmp_path.iterdir()
    shutil.copytree(container, tmp_path / name)
    shutil.move(container, tmp_path / ".hnexport-3-renamed")
    before = names(tmp_path)
    next_run(tmp_path)
    assert names(tmp_path) == before


def test_what_somebody_put_beside_the_marker_stays(tmp_path: Path) -> None:
    run_killed(tmp_path / "target", "with staged_folder(target) as folder: write(folder, 'half'); kill()")
    (container,) = tmp_path.iterdir()
    (container / "thesis.txt").write_text("precious")
    next_run(tmp_path)
    assert list_tree(tmp_path) == (f"{container.name}/thesis.txt", container.name)


def test_a_made_up_marker_reaches_nothing_outside_its_container(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("precious")
    container = tmp_path / ".hnexport-1-a"
    (container / "new").mkdir(parents=True)
    (container / "new" / "link").symlink_to(tmp_path / "home")
    itself = [container.name, container.lstat().st_ino]
    lines = [
        {"schema": "hnexport-staging", "itself": itself, "target": "a", "new": "new"},
        {"new": [0, ["link/thesis.txt", "link", "../../home/thesis.txt", str(tmp_path / "home" / "thesis.txt")]]},
    ]
    (container / "marker").write_text("".join(json.dumps(line) + "\n" for line in lines))
    next_run(tmp_path)
    assert names(tmp_path) == ["home"]
    assert (tmp_path / "home" / "thesis.txt").read_text() == "precious"


BETWEEN = """
class Killed(PlainMoves):
    def place(self, source, target):
        if target.name == "target": kill()
        super().place(source, target)
with staged_folder(target, REPLACE, moves=Killed()) as folder: write(folder, "new")
"""


@pytest.mark.parametrize("attempt", range(5))
def test_what_was_moved_away_by_a_writer_that_was_killed_then_is_brought_back_by_the_next_run(
    tmp_path: Path, attempt: int
) -> None:
    target = tmp_path / "target"
    old_at(target)
    run_killed(target, BETWEEN)
    assert not target.exists()
    if attempt % 2:
        next_run(tmp_path)
    else:
        check_place(target, REPLACE)
    assert whole(target) == "old"
    assert names(tmp_path) == ["target"]


def test_what_was_moved_away_is_kept_where_its_place_was_taken_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "target"
    old_at(target)
    run_killed(target, BETWEEN)
    target.write_text("somebody's")
    next_run(tmp_path)
    assert target.read_text() == "somebody's"
    (old,) = tmp_path.glob(".hnexport-*/old")
    assert whole(old) == "old"
    assert f"is in {old}" in caplog.text
    target.unlink()
    next_run(tmp_path)
    assert whole(target) == "old"
    assert names(tmp_path) == ["target"]


AFTER_EXCHANGE = """
class Killed(SystemMoves):
    def exchange(self, one, other):
        super().exchange(one, other)
        kill()
with staged_folder(target, REPLACE, moves=Killed()) as folder: write(folder, "new")
"""


def test_what_was_put_into_the_old_folder_before_the_kill_is_not_removed_with_it(tmp_path: Path) -> None:
    target = tmp_path / "target"
    old_at(target)
    run_killed(target, AFTER_EXCHANGE)
    assert whole(target) == "new"
    (old,) = tmp_path.glob(".hnexport-*/new")
    (old / "thesis.txt").write_text("precious")
    next_run(tmp_path)
    assert names(old) == ["thesis.txt"]
    assert whole(target) == "new"


REBUILD_FOREVER = """
moves = {moves}()
for number in count():
    with staged_folder(target, REPLACE, moves=moves) as folder: write(folder, str(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("moves", [SystemMoves, PlainMoves])
def test_a_writer_that_is_killed_at_any_moment_leaves_the_old_or_the_new_whole(
    tmp_path: Path, moves: Callable[..., Any]
) -> None:
    target, moment = tmp_path / "target", random.Random(moves.__name__)
    for _ in range(5):
        process = start(target, REBUILD_FOREVER.format(moves=moves.__name__))
        process.stdout.readline()
        time.sleep(moment.uniform(0, 0.05))
        process.kill()
        numbers = process.communicate()[0].split()
        if moves is PlainMoves:
            check_place(target, REPLACE)
        done = int(numbers[-1]) if numbers else 0
        assert int(whole(target)) in (done, done + 1)
        next_run(tmp_path)
        for left in set(tmp_path.iterdir()) - {target}:  # killed before it had said whose its folder is
            assert [(path.name, path.stat().st_size) for path in left.iterdir()] in ([], [("marker", 0)])
