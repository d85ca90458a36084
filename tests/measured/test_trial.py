"""A mutant is tried with the tests that reach it, in a copy."""

from pathlib import Path

from coverage import CoverageData
from mutation import trial
from mutation.reach import Reach
from mutation.sample import Mutant

MODULE, TEST = Path("hnexport/module.py"), "test_module.py::test_it"


def mutant(text: str) -> Mutant:
    return Mutant(
        package="hnexport", path=MODULE, lines=range(1, 2), operator="NumberReplacer", text=text, difference=""
    )


def test_what_tests_notice_is_told_from_what_they_do_not(tmp_path: Path) -> None:
    (tmp_path / "hnexport").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / MODULE).write_text("VALUE = 1\n", encoding="utf-8")
    imports = "import sys; sys.path.insert(0, 'hnexport')\nfrom module import VALUE\n"
    (tmp_path / "test_module.py").write_text(f"{imports}def test_it():\n    assert VALUE > 0\n", encoding="utf-8")
    data = CoverageData(basename=str(tmp_path / "coverage"))
    data.set_context(f"{TEST}|run")
    data.add_lines({str(Path(trial.__file__).parents[2] / MODULE): [1]})
    reach = Reach(data=data, seconds={TEST: 0.1})
    found = [trial.tried(mutant(text), reach, tmp_path, seconds=9).outcome for text in ("VALUE = 2\n", "VALUE = 0\n")]
    assert found == [trial.Outcome.SURVIVED, trial.Outcome.FAILED]
    assert (tmp_path / MODULE).read_text(encoding="utf-8") == "VALUE = 1\n"
    nobody = Reach(data=CoverageData(basename=str(tmp_path / "empty")), seconds={})
    assert trial.tried(mutant("VALUE = 2\n"), nobody, tmp_path, seconds=9).outcome is trial.Outcome.UNREACHED
