"""A user's function is found, called with what it takes, and where it fails is said in the user's own lines."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hnexport.errors import FactoryError, SpecError
from hnexport.factories.loading import called, read_argument, users_code
from hnexport.interrupts import Interrupted

SOURCE = """
from beside import two

def truth(deep=False):
    return deep

def numbers(count=2, *, word: str = "", scale=1.0):
    return {"count": count, "word": word, "scale": scale, "two": two()}

def needs(size):
    return size

def fails(depth=0):
    if depth:
        raise ValueError("too deep")
    return fails(depth + 1)

def leaves():
    raise SystemExit

def refused():
    from hnexport import Rule
    return Rule("*", "own")

def deep_in_a_library():
    import json
    return json.loads("{")

def command_line():
    import sys
    return list(sys.argv)

class Holder:
    @staticmethod
    def make():
        return "held"

value = [1, 2, 3]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "train.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("def two():\n    return 2\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path / "train.py"
    for name in set(sys.modules) - before:
        del sys.modules[name]


def call(target: str, **arguments: Any) -> Any:
    return called(target, arguments, lambda value: False)


def test_a_file_is_run_with_what_lies_beside_it(file: Path) -> None:
    assert call(f"{file}:numbers") == {"count": 2, "word": "", "scale": 1.0, "two": 2}


def test_a_module_is_found_in_the_folder_where_one_stands(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert call("train:numbers")["two"] == 2


def test_arguments_are_what_they_are_in_python_unless_text_is_asked_for(file: Path) -> None:
    found = call(f"{file}:numbers", count="3", word="3", scale="1e-3")
    assert (found["count"], found["word"], found["scale"]) == (3, "3", 1e-3)
    assert [read_argument(text) for text in ("True", "None", "[1, 2]", "relu")] == [True, None, [1, 2], "relu"]


def test_names_may_have_dots(file: Path) -> None:
    assert call(f"{file}:Holder.make") == "held"


def test_what_is_no_function_is_taken_as_it_is(file: Path) -> None:
    assert call(f"{file}:value") == [1, 2, 3]
    with pytest.raises(FactoryError, match="value is a list, no function: leave out --arg"):
        call(f"{file}:value", size="1")


WRONG = {
    "no name": ("train.py", {}, r"expected MODULE:NAME or FILE.py:NAME"),
    "no such file": ("none.py:make", {}, r"there is no file none.py"),
    "no such module": ("nowhere.to.be:found", {}, r"there is no module nowhere.to.be here"),
    "no such function": ("{}:make", {}, r"has no make; there are truth, numbers, needs"),
    "a name that is nearly one": ("{}:need", {}, r"has no need; there are needs, truth"),
    "no such part": ("{}:Holder.made", {}, r"train.py:Holder has no made; there are make"),
    "a text for a truth": ("{}:truth", {"deep": "false"}, "--arg deep=false: expected True or False"),
    "a file that is no Python": ("{}.txt:make", {}, r"train.py.txt is no Python file, which ends in .py"),
    "an unknown argument": ("{}:numbers", {"size": "1"}, r"--arg size: .* takes count, word, scale"),
    "a missing argument": ("{}:needs", {}, r"needs size: give --arg size=…"),
}


@pytest.mark.parametrize(("target", "arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_called_is_refused(target: str, arguments: dict[str, Any], message: str, file: Path) -> None:
    (file.parent / "train.py.txt").touch()
    with pytest.raises(FactoryError, match=message):
        call(target.format(file), **arguments)


def test_a_file_without_its_suffix_is_pointed_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent.parent)
    with pytest.raises(FactoryError, match=r"a file is named with its suffix, .*/train.py:…"):
        call(f"{file.parent.name}/train:make")


def test_a_module_needs_a_name(file: Path) -> None:
    with pytest.raises(FactoryError, match="there is no module .train here"):
        call(".train:make")


def test_an_error_names_the_innermost_line_of_the_users(file: Path) -> None:
    line = SOURCE.splitlines().index('        raise ValueError("too deep")') + 1
    with pytest.raises(FactoryError, match="your code failed, calling fails of .*: ValueError: too deep\n") as caught:
        call(f"{file}:fails")
    assert str(caught.value).endswith(f'{file}:{line} in fails: raise ValueError("too deep")')


def test_an_error_inside_a_library_names_the_users_line(file: Path) -> None:
    with pytest.raises(FactoryError, match=r"JSONDecodeError.*\n.*in deep_in_a_library: return json.loads"):
        call(f"{file}:deep_in_a_library")


def test_an_exit_is_an_error_too_and_not_that_of_the_command(file: Path) -> None:
    with pytest.raises(FactoryError, match="SystemExit: without a message") as caught:
        call(f"{file}:leaves")
    assert caught.value.__cause__ is caught.value.__context__ is None
    with pytest.raises(FactoryError, match="too deep") as caught:
        call(f"{file}:fails")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_file_sees_no_command_line_of_ours(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hnexport", "build", "--from", str(file)])
    assert call(f"{file}:command_line") == [str(file)]
    assert sys.argv[0] == "hnexport"


def test_a_module_in_a_package_imports_what_lies_beside_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = file.parent / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text("def make():\n    return 7\n")
    (package / "run.py").write_text("from .models import make\n")
    monkeypatch.chdir(file.parent)
    assert call("package.run:make") == 7
    with pytest.raises(FactoryError, match=r"relative import.*: name its module, --from package.module:…"):
        call(f"{package / 'run.py'}:make")
    with pytest.raises(FactoryError, match="there is no module package.none here"):
        call("package.none:make")


def test_what_hnexport_refuses_in_it_stays_what_it_is(file: Path) -> None:
    with pytest.raises(SpecError, match="source must be one of"):
        call(f"{file}:refused")


def test_a_file_that_is_no_python_is_shown_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("x = 1\ndef make(:\n")
    with pytest.raises(FactoryError, match=r"running .*torn.py: SyntaxError.*\n.*torn.py:2: def make\(:"):
        call(f"{tmp_path / 'torn.py'}:make")


@pytest.mark.parametrize("hidden", [False, True], ids=["as it is", "made an error"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Interrupted])
def test_a_signal_during_the_users_code_stays_one(kind: type[BaseException], hidden: bool) -> None:
    def code() -> None:
        try:
            raise kind(143)
        except BaseException as end:
            if hidden:
                raise RuntimeError("stopped") from end
            raise

    with pytest.raises(kind):
        users_code("training", code)


def test_a_panic_of_a_library_is_an_error_of_the_users_code() -> None:
    class PanicException(BaseException):
        pass

    def code() -> None:
        raise PanicException("index out of range")

    with pytest.raises(FactoryError, match="your code failed, training: PanicException: index out of range"):
        users_code("training", code)
