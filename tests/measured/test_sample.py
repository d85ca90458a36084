"""Which small changes of our sources are drawn, and which tests are asked about one."""

from pathlib import Path

import pytest
from coverage import CoverageData
from mutation.reach import Reach
from mutation.sample import sampled

TEXT = '''"""A module."""

LIMIT: int | None = 3


def above(value: int | float, *, limit: int | None = None) -> bool | None:
    return value > 2
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_a_change_is_one_place_and_no_annotation(checkout: Path) -> None:
    mutants = sampled(checkout, Path("package"), 100, seed=0)
    assert {mutant.lines.start for mutant in mutants} == {3, 7}
    for mutant in mutants:
        changed = [
            line for line in mutant.difference.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")
        ]
        assert len(changed) == 2, mutant.difference
        compile(mutant.text, "module.py", "exec")  # no other operator for the star
        assert mutant.text.count("int | None") == 2


def test_a_seed_draws_the_same_changes_again(checkout: Path) -> None:
    drawn = [[mutant.difference for mutant in sampled(checkout, Path("package"), 2, seed)] for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] or drawn[0] != drawn[3]


def test_tests_that_run_a_line_are_asked_and_of_what_runs_at_import_time_all_of_the_files(tmp_path: Path) -> None:
    data = CoverageData(basename=str(tmp_path / "coverage"))
    path = tmp_path / "module.py"
    for context, lines in (
        ("", [1, 3]),
        ("a.py::test_slow|run", [7]),
        ("a.py::test_quick|run", [7]),
        ("b.py::test|run", [9]),
    ):
        data.set_context(context)
        data.add_lines({str(path): lines})
    reach = Reach(data=data, seconds={"a.py::test_slow": 2.0, "a.py::test_quick": 0.1, "b.py::test": 1.0})
    assert reach.tests(path, range(7, 8)) == ["a.py::test_quick", "a.py::test_slow"]
    assert reach.tests(path, range(3, 4)) == ["a.py::test_quick", "b.py::test", "a.py::test_slow"]
    assert reach.tests(path, range(8, 9)) == []
