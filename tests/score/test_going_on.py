"""Whatever ended a run, the same call goes on with the parts that are missing, and writes the same bytes."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scoring import OPTIONS, PART_ROWS, ROWS, ScoreBundle

from hnexport.errors import RuntimeInputError
from hnexport.score import parts as parts_module
from hnexport.score import score
from hnexport.score.parts import Parts
from hnexport.score.plan import difference

PARTS = -(-ROWS // PART_ROWS)
DIES = """
import os, signal, sys
from hnexport.publishing.container import Container
from hnexport.score import ScoreOptions, parts, run, score
from hnexport.score.parts import Parts

bundle, data, out, where = sys.argv[1:]
put, writes = Parts._put, []

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def put_some(self, path, content):
    writes.append(path)
    if len(writes) == 3 and where == "between write and rename":
        type(path).replace = die
    put(self, path, content)

Parts._put = put_some
if where == "while assembling":
    run.assemble = die
if where == "before its container is removed":
    Container.remove = die
if where == "before the parts are removed":
    Parts.remove = die
score(bundle, data, out, options=ScoreOptions(provider="cpu", threads=1, part_rows=16))
"""


def names(out: Path) -> list[Any]:
    return sorted(one.name for one in out.with_name(out.name + ".parts").iterdir())


def test_a_killed_run_goes_on_wherever_it_was_and_gives_the_same_bytes(
    bundle: Path, forms: dict[str, Path], scored: ScoreBundle, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    held = {}
    places = ("between write and rename", "while assembling", "before its container is removed")
    for where in (*places, "before the parts are removed"):
        command = [sys.executable, "-c", DIES, str(bundle), str(forms["photos"]), str(out), where]
        died = subprocess.run(command, check=False, capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        held[where] = names(out)
    assert held["between write and rename"] == [
        "lock", "part-0000000.parquet", "part-0000001.parquet.unfinished", "plan.json"
    ]  # fmt: skip
    assert held["while assembling"] == ["lock", *(f"part-{n:07}.parquet" for n in range(PARTS)), "plan.json"]
    assert out.read_bytes() == whole
    done = scored(forms["photos"], out)
    assert (done.scored, out.read_bytes()) == (0, whole)
    assert [one.name for one in tmp_path.iterdir()] == ["out.parquet"]


@pytest.fixture
def stopped(bundle: Path, forms: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that ended with two parts, as if the disk had filled up."""
    out, synced = tmp_path / "out.parquet", []

    def full(handle: Any) -> None:
        synced.append(handle)
        if len(synced) > 6:  # files and folder, of the plan and of two parts
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parts_module.os, "fsync", full)  # type: ignore[attr-defined] # what a test or a tool reaches for there
    with pytest.raises(RuntimeInputError, match=r"is full: No space left on device; what is scored stays"):
        score(bundle, forms["photos"], out, options=OPTIONS)
    monkeypatch.undo()
    assert names(out) == ["lock", "part-0000000.parquet", "part-0000001.parquet", "plan.json"]
    return out


def test_a_full_disk_keeps_what_is_scored(
    stopped: Path, scored: ScoreBundle, forms: dict[str, Path], whole: bytes
) -> None:
    done = scored(forms["photos"], stopped)
    assert done.scored == ROWS - 2 * PART_ROWS
    assert stopped.read_bytes() == whole


def test_a_damaged_part_is_scored_again(
    stopped: Path, scored: ScoreBundle, forms: dict[str, Path], whole: bytes
) -> None:
    part = stopped.with_name("out.parquet.parts") / "part-0000001.parquet"
    part.write_bytes(part.read_bytes()[:-7])
    assert scored(forms["photos"], stopped).scored == ROWS - PART_ROWS
    assert stopped.read_bytes() == whole


CHANGES = (
    ({"members": (0, 1)}, r"with members \[0, 1, 2\], and this call says \[0, 1\]"),
    ({"until": "exact"}, "with until null, and this call says"),
    ({"part_rows": 8}, "with part rows 16"),
    ({"member_outputs": True}, "with member outputs false"),
)


def test_another_call_is_refused_and_the_parts_stay(stopped: Path, bundle: Path, forms: dict[str, Path]) -> None:
    before = names(stopped)
    for changes, message in CHANGES:
        with pytest.raises(RuntimeInputError, match=message):
            score(bundle, forms["photos"], stopped, options=dataclasses.replace(OPTIONS, **changes))
    assert names(stopped) == before


def test_data_that_changed_are_refused_and_the_parts_stay(
    stopped: Path, bundle: Path, forms: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(forms["photos"], tmp_path / "photos")
    (tmp_path / "photos/1/999.png").write_bytes(b"one more")
    with pytest.raises(RuntimeInputError, match="holds parts of a run with rows: 70, and this call says 71"):
        score(bundle, tmp_path / "photos", stopped, options=OPTIONS)
    (tmp_path / "photos/1/999.png").unlink()
    (tmp_path / "photos/1/041.png").write_bytes(b"another")
    with pytest.raises(RuntimeInputError, match="data that have changed since"):
        score(bundle, tmp_path / "photos", stopped, options=OPTIONS)
    assert "part-0000001.parquet" in names(stopped)


def test_a_second_process_is_refused_while_one_writes(
    stopped: Path, scored: ScoreBundle, forms: dict[str, Path], whole: bytes
) -> None:
    plan = parts_module.parsed((stopped.with_name("out.parquet.parts") / "plan.json").read_bytes())  # type: ignore[attr-defined] # what a test or a tool reaches for there
    with Parts.opened(stopped, plan), pytest.raises(RuntimeInputError, match="in use by another process"):
        scored(forms["photos"], stopped)
    scored(forms["photos"], stopped)
    assert stopped.read_bytes() == whole


def test_the_same_call_again_does_nothing_and_another_one_is_refused(
    scored: ScoreBundle, bundle: Path, forms: dict[str, Path], whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    out.write_bytes(whole)
    assert scored(forms["photos"], out).scored == 0
    with pytest.raises(RuntimeInputError, match=r"exists, with members \[0, 1, 2\]"):
        score(bundle, forms["photos"], out, options=dataclasses.replace(OPTIONS, members=(1,)))
    out.write_bytes(b"somebody's")
    with pytest.raises(RuntimeInputError, match="exists: choose another"):
        scored(forms["photos"], out)
    assert out.read_bytes() == b"somebody's"


def test_a_folder_of_somebody_is_not_taken_for_parts(
    scored: ScoreBundle, forms: dict[str, Path], tmp_path: Path
) -> None:
    (theirs := tmp_path / "out.parquet.parts").mkdir()
    (theirs / "notes.txt").write_text("mine")
    with pytest.raises(RuntimeInputError, match=r"holds notes\.txt already: remove it"):
        scored(forms["photos"], tmp_path / "out.parquet")
    assert (theirs / "notes.txt").read_text() == "mine"


def test_another_version_of_hnexport_goes_on(stopped: Path, scored: ScoreBundle, forms: dict[str, Path]) -> None:
    plan = parts_module.parsed((stopped.with_name("out.parquet.parts") / "plan.json").read_bytes())  # type: ignore[attr-defined] # what a test or a tool reaches for there
    assert plan is not None
    assert difference(plan, dataclasses.replace(plan, version="9.9")) == ""
    assert difference(plan, dataclasses.replace(plan, digest="sha256:" + "0" * 64)).startswith("digest")
