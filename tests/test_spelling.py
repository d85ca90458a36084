"""Errors name what their reader can type: Python's arguments from Python, flags in a command."""

import ast
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from shared import Built

import hnexport
from hnexport.bundle.writer import check_target
from hnexport.cli.main import cli
from hnexport.errors import BundleError, ParityError, ProviderError, RuntimeInputError
from hnexport.parity import write_golden_inputs
from hnexport.runtime.openvino_engine import import_openvino
from hnexport.runtime.options import LoadOptions
from hnexport.spelling import in_command, spelled

PACKAGE = Path(hnexport.__file__).parent
# Other programs' flags, and whole commands that stand where a command is meant.
OTHERS = re.compile(
    r"pip install|--gpus all|hnexport (bench|build|card|evaluate|golden|member|predict|tune|verify) |--query-gpu"
    r"|--format=csv"
)
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def test_an_option_is_pythons_argument_outside_of_commands_and_a_flag_in_them() -> None:
    assert spelled("force=True", "--force") == "force=True"
    found = []
    with in_command():
        thread = threading.Thread(target=lambda: found.append(spelled("force=True", "--force")))
        thread.start()
        thread.join()
    assert found == ["--force"]
    assert spelled("force=True", "--force") == "force=True"


def test_a_command_that_fails_leaves_pythons_words(tmp_path: Path) -> None:
    def fail() -> None:
        with in_command():
            raise BundleError("full")

    with pytest.raises(BundleError, match="full"):
        fail()
    assert spelled("trust=True", "--trust") == "trust=True"


def test_the_same_mistake_is_told_in_the_words_of_who_made_it(built: Built, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="exists: choose another target, or give force=True to replace it"):
        check_target(tmp_path / "out", force=False, needed_bytes=0)
    with pytest.raises(ParityError, match="exists: choose another target$"):
        write_golden_inputs(built.path, tmp_path / "out")
    done = CliRunner().invoke(cli, ["golden", str(built.path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "exists: choose another --out" in " ".join(done.output.split())


def test_an_engine_and_a_precision_that_do_not_go_together_are_told_in_flags_in_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hnexport.runtime.openvino_engine.find_spec", lambda name: None)
    with in_command():
        with pytest.raises(RuntimeInputError, match="^--precision bfloat16 needs --engine openvino; "):
            LoadOptions(precision="bfloat16")
        needs = r"^--precision tf32 needs --provider cuda \(or auto\), found --provider cpu, --engine onnxruntime"
        with pytest.raises(RuntimeInputError, match=needs):
            LoadOptions(precision="tf32", provider="cpu")
        with pytest.raises(ProviderError, match="or choose --engine onnxruntime$"):
            import_openvino()


def _flags(tree: ast.AST, *, said: bool = False) -> Iterator[str]:
    """Texts with a flag that neither `spelled` nor a docstring holds."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        inside = said or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "spelled")
        if isinstance(node, ast.JoinedStr) and not inside:
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            if FLAG.search(text) and not OTHERS.search(text):
                yield text
        plain = isinstance(node, ast.Constant) and not isinstance(tree, ast.JoinedStr) and not inside
        if plain and isinstance(node.value, str) and FLAG.search(node.value) and not OTHERS.search(node.value):  # type: ignore[attr-defined] # what a test or a tool reaches for there
            yield node.value  # type: ignore[attr-defined] # what a test or a tool reaches for there
        yield from _flags(node, said=inside)


def test_no_text_of_the_library_names_a_flag_alone() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name not in ("cli", "factories")
        and path.name not in ("options.py", "option_table.py")  # `--from` is a command's
        for text in _flags(ast.parse(path.read_text(encoding="utf-8")))
    }
    allowed = {"runtime/loading.py: --json", "runtime/loading.py: --precision"}  # arguments of our own command
    allowed |= {f"deploy/javascript_runtime.py: --{flag}" for flag in ("json", "ignore-scripts", "pack-destination")}
    assert found - allowed == set()
