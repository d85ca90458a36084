"""Every option of every command is on a command line of some test, so that a new one without any is noticed."""

from pathlib import Path

from typed_options import every_option, typed_in

from hnexport.cli.main import cli

TESTS = Path(__file__).parents[1]


def test_every_option_is_typed_by_a_test() -> None:
    options = every_option(cli)
    paths = [path for path in TESTS.rglob("*.py") if "node_modules" not in path.parts]
    missing = sorted(options - typed_in(paths, {command for command, _ in options}))
    assert not missing, "no test types " + ", ".join(f"`hnexport {command} {option}`" for command, option in missing)


SOURCE = """
MORE = ["--json"]
def run(*words):
    return hnexport("verify", *words)
def test_one():
    run("--wide", *MORE)
    hnexport("deploy", "triton", "--out=x")
    hnexport("card", "a --digest of a bundle")
"""


def test_an_option_belongs_to_the_command_around_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SOURCE)
    found = typed_in([tmp_path / "test_it.py"], {"verify", "deploy triton", "card", "predict"})
    assert {("verify", "--wide"), ("verify", "--json"), ("deploy triton", "--out")} <= found
    assert not {("deploy triton", "--wide"), ("card", "--wide"), ("verify", "--out"), ("predict", "--wide")} & found
