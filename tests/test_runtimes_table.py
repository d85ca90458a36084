"""The tables of runtimes: modules import without any runtime, a row replaces only its own line and says what failed."""

import contextlib
import importlib
import os
import select
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import saying, small_bundle
from PIL import Image

from hnexport.bundle.golden import read_golden
from hnexport.images import Normalisation, read_images
from hnexport.runtime import load

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(TOOLS))
    yield
    ours = ("runtimes", "runtimes_check", "runtimes_table")
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with both pairs of markers."""
    path = tmp_path / "page.md"
    tables = importlib.import_module("runtimes.page").TABLES
    path.write_text("before\n" + "between\n".join(f"{one.begin}\n{one.end}\n" for one in tables) + "after\n")
    return path


def row(**said: Any) -> Any:
    return importlib.import_module("runtimes.runtime").Row(file="model.onnx", **said)


def lines_of(page: Path, *starts: object) -> list[Any]:
    return [line for line in page.read_text().splitlines() if line.startswith(tuple(f"| {one}" for one in starts))]


def test_every_module_is_known_and_names_a_runtime_of_its_own() -> None:
    known = importlib.import_module("runtimes.known").NAMES
    runtimes = [importlib.import_module(f"runtimes.{name}").RUNTIME for name in known]
    assert len({runtime.name for runtime in runtimes}) == len(known)
    found = {path.stem for path in (TOOLS / "runtimes").glob("*.py") if "RUNTIME = " in path.read_text()}
    assert found == set(known)


def test_the_page_has_both_tables() -> None:
    text = (TOOLS.parent / "docs/runtimes/index.md").read_text()
    for table in importlib.import_module("runtimes.page").TABLES:
        assert text.count(table.begin) == text.count(table.end) == 1


def test_a_row_replaces_its_own_line_and_keeps_the_others(page: Path) -> None:
    write, order = importlib.import_module("runtimes.page").write, ["one", "two"]
    write(page, row(name="two", error=2e-7, remark="slow"), order)
    write(page, row(name="one", why="not run: no GPU"), order)
    write(page, row(name="two", error=3e-5, version="2026.4.1-22982-e213a147257"), order)
    lines = page.read_text().splitlines()
    rows = lines_of(page, "one", "two")
    assert [line.split("|")[1].strip() for line in rows] == order
    assert "not run: no GPU" in rows[0]
    assert "**3.0e-05**" in rows[1]
    assert "| 2026.4.1 |" in rows[1]
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "between" in lines


def test_a_member_stands_beside_the_same_network_of_another_exporter(page: Path) -> None:
    write, order = importlib.import_module("runtimes.page").write, ["plain", "called", "neither"]
    common = {"error": 1e-7, "exporter": "torch.onnx.export"}
    write(page, row(name="plain", call_ms=8.0, plain_ms=2.0, own_ms=1.6, resident_mb=3.04, **common), order)
    write(page, row(name="called", call_ms=3.0, plain_ms=9.0, own_ms=2.0, member_is_called=True, **common), order)
    write(page, row(name="neither", call_ms=3.0, plain_ms=9.0, **common), order)
    begin = importlib.import_module("runtimes.page").MEMBER.begin
    cells = [line.split(" | ") for line in page.read_text().split(begin)[1].splitlines() if line.startswith("| ")]
    assert [one[0] for one in cells] == ["| runtime", "| ---", "| plain", "| called"]
    assert cells[2][1:6] == ["torch.onnx.export", "2", "1.6", "1.25", "3.0"]
    assert cells[3][2:6] == ["3", "2", "1.50", ""]


def test_an_unknown_name_is_refused_with_the_names_that_there_are(page: Path) -> None:
    command = [sys.executable, TOOLS / "runtimes_table.py", "--only", "tract", "--page", page]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "there is no runtime tract; there are: onnxruntime_python, " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_row_that_fails_says_why_and_the_others_are_written_all_the_same(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = importlib.import_module("runtimes.runtime").Runtime
    example = ("{python}", "{examples}/python/predict.py", "{bundle}", "{golden}")
    broken = (("{python}", "-c", "import sys; sys.exit('error: it is broken')"),)
    runtimes = {
        "failing": made(name="failing", file="model.onnx", prepare=broken),
        "absent": made(name="absent", file="model.onnx", tools=("a-program-that-nobody-has",)),
        "good": made(name="good", file="model.onnx", predict=example),
    }
    for name, runtime in runtimes.items():
        monkeypatch.setitem(sys.modules, f"runtimes.{name}", types.SimpleNamespace(RUNTIME=runtime))
    monkeypatch.setattr(importlib.import_module("runtimes.known"), "NAMES", tuple(runtimes))
    stage = importlib.import_module("runtimes.stage")
    staged = stage.Stage(bundle=small_bundle("hypernet"), plain=tmp_path, fixed=tmp_path, own=tmp_path)
    monkeypatch.setattr(stage, "staged", lambda folder: staged)
    rows = importlib.import_module("runtimes_table").rows
    assert rows(list(runtimes), tmp_path / "build", page) == 1
    failing, absent, good = lines_of(page, *runtimes)
    assert "| failed: error: it is broken |" in failing
    assert "| not run: no a-program-that-nobody-has here |" in absent
    assert "e-07 | NaN | NaN |" in good or "e-08 | NaN | NaN |" in good
    assert rows(["absent", "good"], tmp_path / "build", page) == 0
    assert lines_of(page, "failing") == [failing]


def test_ids_are_judged_by_what_a_runtime_gave_for_them(tmp_path: Path) -> None:
    stage, judge = importlib.import_module("runtimes.stage"), importlib.import_module("runtimes.judge")
    bundle = small_bundle("hypernet")
    staged = stage.Stage(bundle=bundle, plain=tmp_path, fixed=tmp_path, own=tmp_path)
    golden = read_golden(bundle).outputs["logits"]
    assert judge.of_unknown_ids(staged, tmp_path) == "refused"
    for cond_id, logits in {-1: np.full_like(golden[0], np.nan), 2**32 + 1: golden[1], 2**40: golden[0] + 1}.items():
        (tmp_path / f"member-{cond_id}").mkdir()
        np.save(tmp_path / f"member-{cond_id}" / "logits.npy", logits.astype(np.float32))
    said = judge.of_unknown_ids(staged, tmp_path)
    assert said == "-1: NaN; N, 2^31: refused; 2^32+1: member 1; 2^40: numbers"


def test_calls_are_measured_in_turns_and_none_always_follows_the_same() -> None:
    drive = importlib.import_module("runtimes.drive")
    drive.SECONDS, called = 0.0, []  # type: ignore[attr-defined] # what a test or a tool reaches for there
    found = drive.in_turns({name: lambda name=name: called.append(name) for name in "abc"})
    assert set(found) == {"a", "b", "c"}
    rounds = ["".join(called[start : start + 3]) for start in range(3, len(called), 3)]
    assert len(rounds) == drive.CALLS
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) > 2


def test_what_a_machine_lacks_is_left_out_and_everything_else_fails_the_check(tmp_path: Path) -> None:
    check, runtime = importlib.import_module("runtimes_check"), importlib.import_module("runtimes.runtime").Runtime
    stage = importlib.import_module("runtimes.stage").Stage(
        bundle=tmp_path, plain=tmp_path, fixed=tmp_path, own=tmp_path
    )

    def said(**options: tuple[str] | tuple[tuple[str, str, str]]) -> Any:
        return check.found("one", runtime(name="one", file="model.onnx", **options), (stage, stage), tmp_path / "work")

    lacking = said(tools=("no-such-compiler",))
    assert (lacking, check.is_right(lacking)) == ("not run: no no-such-compiler here", True)
    broken = said(prepare=(("bash", "-c", "echo error: it broke >&2; exit 3"),))
    assert (broken, check.is_right(broken)) == ("failed: error: it broke", False)
    without_samples = said()
    assert not check.is_right(without_samples)
    assert check.is_right("not run: pip cannot install ray: ERROR: No matching distribution found for ray")
    assert not check.is_right("not run: pip cannot install ray: ERROR: ResolutionImpossible")
    assert not check.is_right("different: 2.0e-05 from float64, the limit is 1e-05")


def test_an_example_that_names_another_class_for_one_member_than_onnxruntime_fails_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, stage = importlib.import_module("runtimes.measured"), importlib.import_module("runtimes.stage")
    made = importlib.import_module("runtimes.runtime").Runtime
    monkeypatch.setattr(measured, "expected_classes", lambda bundle: ["class 3", "class 4"])
    staged = stage.Stage(bundle=tmp_path, plain=tmp_path, fixed=tmp_path, own=tmp_path)

    def attempt(*picture: str) -> None:
        runtime = made(name="one", file="model.onnx", picture=picture)
        measured.Attempt("one", runtime, staged, tmp_path / "work", Path(sys.executable)).classify()

    def says(numbers: str) -> tuple[str, ...]:
        code = f"import sys; print('loading'); print('class', {numbers!r}[int(sys.argv[1])])"
        return ("{python}", "-c", code.replace("{", "{{").replace("}", "}}"), "{id}")

    attempt(*says("34"))
    wrong = "says class 3, class 3 of a picture, onnxruntime says class 3, class 4"
    with pytest.raises(importlib.import_module("runtimes.commands").FailedError, match=wrong):
        attempt(*says("33"))
    attempt("{work}/build/picture", "{ppm}")  # CMake found no JSON: it was not built


def test_every_example_that_names_a_class_is_told_the_member() -> None:
    for name in importlib.import_module("runtimes.known").NAMES:
        runtime = importlib.import_module(f"runtimes.{name}").RUNTIME
        command = " ".join(runtime.picture)
        assert not command or "{id}" in command or (runtime.member and "{member}" in command), name


def test_what_is_expected_of_a_picture_is_each_members_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = importlib.import_module("runtimes.measured")
    monkeypatch.setattr(measured, "PICTURE", tmp_path / "picture.png")
    bundle = saying(small_bundle("hypernet"), tmp_path / "bundle", normalisation=Normalisation(mean=(0.5,), std=(0.2,)))
    ensemble, found = load(bundle, provider="cpu"), set()
    takes = ensemble.image_input
    assert takes is not None
    for seed in range(40):
        pixels = np.random.default_rng(seed).integers(0, 256, (takes.height, takes.width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "picture.png")
        images = read_images([tmp_path / "picture.png"], takes).images
        best = [int(ensemble.predict(images, member=member)[0].argmax()) for member in range(ensemble.members)]
        found.add(len(set(best)) == len(best))
        if len(set(best)) == len(best):
            assert measured.expected_classes(bundle) == [f"class {one}" for one in best]
        else:  # an example that takes another member than it is told would say the same
            with pytest.raises(ValueError, match="members name the same class"):
                measured.expected_classes(bundle)
        if len(found) == 2:
            return
    pytest.fail(f"of no picture members name {'the same class' if found == {True} else 'classes of their own'}")


@pytest.mark.thorough
def test_a_command_that_hangs_ends_with_everything_that_it_started(tmp_path: Path) -> None:
    commands = importlib.import_module("runtimes.commands")
    started = tmp_path / "started"
    script = f"sleep 600 & echo $! > {started}; wait"
    with pytest.raises(commands.NotRunError, match="timed out"):
        commands.run(["bash", "-c", script], limit_s=5)
    with contextlib.suppress(ProcessLookupError):
        left = os.pidfd_open(int(started.read_text()))
        assert select.select([left], [], [], 60)[0], "it goes on"


def test_the_check_runs_known_runtimes() -> None:
    check = importlib.import_module("runtimes_check")
    assert set(check.EXPECTED) <= set(importlib.import_module("runtimes.known").NAMES)


def test_packages_that_contradict_each_other_are_a_failure_and_those_that_nobody_has_are_not(tmp_path: Path) -> None:
    commands = importlib.import_module("runtimes.commands")
    install = importlib.import_module("runtimes.environments").install
    runtime = importlib.import_module("runtimes.runtime").Runtime
    python = Path(sys.executable)

    def refused(*packages: object) -> tuple[type[Any], str]:
        with pytest.raises(commands.NotRunError) as why:
            install(python, runtime(name="one", file="model.onnx", packages=packages), "--no-index", *packages)
        return type(why.value), str(why.value)

    kind, said = refused("hnexport-no-such-package")
    assert kind is commands.NotRunError
    assert said.startswith("not run: pip cannot install hnexport-no-such-package: ERROR: No matching distribution")
    wheels = []
    for version in (1, 2):
        wheels.append(tmp_path / f"hnexport_twice-{version}-py3-none-any.whl")
        with zipfile.ZipFile(wheels[-1], "w") as wheel:
            info = f"hnexport_twice-{version}.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: hnexport-twice\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    kind, said = refused(*map(str, wheels))
    assert kind is commands.FailedError
    assert said.startswith("failed: pip cannot install")


def test_files_of_other_code_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = importlib.import_module("runtimes.stage")
    monkeypatch.setattr(stage, "build", lambda *_, **__: 1 / 0)
    (tmp_path / "complete").write_text(stage._sources())
    assert stage.staged(tmp_path).bundle == tmp_path / "bundle"
    (tmp_path / "complete").write_text("another")
    with pytest.raises(ZeroDivisionError):
        stage.staged(tmp_path)
