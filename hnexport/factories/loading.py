"""Find a user's function, call it, and say where in the user's code it failed.

The file is run as `python FILE` would run it, but for `if __name__ == "__main__"`: in this process, with all rights.
"""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from hnexport.blame import users_line
from hnexport.errors import FactoryError, HnexportError
from hnexport.interrupts import Interrupted

__all__ = ["called", "read_argument", "users_code"]

T = TypeVar("T")


def called(target: str, arguments: Mapping[str, str], is_value: Callable[[object], bool]) -> Any:
    """What a factory returns; a value under that name is taken as it is.

    Args:
        target: `package.module:name` or `folder/file.py:name`; the name may have dots.
        arguments: for the factory, by name, as text; see `read_argument`.
        is_value: whether what is found there is no factory but what one would return.

    Raises:
        FactoryError: there is no such file, module or name, it takes other arguments, or it raised.
    """
    where, separator, name = target.rpartition(":")
    if not (separator and where and name):
        raise FactoryError(f"--from {target}: expected MODULE:NAME or FILE.py:NAME, for instance train.py:make")
    with _alone(where):
        return _called(target, where, name, arguments, is_value)


def _called(
    target: str, where: str, name: str, arguments: Mapping[str, str], is_value: Callable[[object], bool]
) -> Any:
    found: Any = _module(where)
    holder = where
    for part in name.split("."):
        if not hasattr(found, part):
            raise FactoryError(f"--from {target}: {holder} has no {part}; {_there_are(found, part)}")
        found, holder = getattr(found, part), f"{holder}:{part}" if holder == where else f"{holder}.{part}"
    if is_value(found) or not callable(found):
        if arguments:
            raise FactoryError(f"--from {target}: {name} is a {type(found).__name__}, no function: leave out --arg")
        return found
    given = _bound(target, found, arguments)
    return users_code(f"calling {name} of {where}", lambda: found(**given))


def read_argument(text: str) -> Any:
    """`3`, `0.5`, `True`, `None`, `[1, 2]` are what they are in Python; all else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _module(where: str) -> ModuleType:
    path = Path(where)
    if path.suffix != ".py":
        _prefer(Path.cwd())
        first = where.partition(".")[0]
        if not first or importlib.util.find_spec(first) is None:
            raise _no_module(where)
        return users_code(f"importing {where}", lambda: _imported(where))
    if not path.is_file():
        raise FactoryError(f"--from: there is no file {path}")
    _prefer(path.resolve().parent)
    name = path.stem if path.stem not in sys.modules else f"hnexport_from_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise FactoryError(f"--from: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look there
    loader = spec.loader
    users_code(f"running {path}", lambda: loader.exec_module(module))
    return module


def _imported(where: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
    raise _no_module(where)


def _no_module(where: str) -> FactoryError:
    path = Path(where)
    if path.exists():
        hint = f"; {path} is no Python file, which ends in .py"
    else:
        hint = f"; a file is named with its suffix, {where}.py:…" if Path(f"{where}.py").exists() else ""
    return FactoryError(f"--from: there is no module {where} here or among what is installed{hint}")


@contextmanager
def _alone(where: str) -> Iterator[None]:
    """While the user's code runs: the command line is that of `python FILE`, ours is none of its business."""
    ours = sys.argv
    sys.argv = [where]
    try:
        yield
    finally:
        sys.argv = ours


def _prefer(folder: Path) -> None:
    """Let imports find what lies beside the user's file, as `python FILE` does."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _there_are(holder: Any, wanted: str) -> str:
    """What a module or class has: what is spelled alike first."""
    module = holder.__name__ if isinstance(holder, ModuleType) else getattr(holder, "__module__", None)
    own = [
        name
        for name, value in getattr(holder, "__dict__", {}).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, staticmethod | classmethod))
        and getattr(value, "__module__", module) == module
    ]
    own = list(dict.fromkeys([*get_close_matches(wanted, own, n=3), *own]))
    return f"there are {', '.join(own[:10])}{', …' * (len(own) > 10)}" if own else "there is no function in it"


def _bound(target: str, function: Callable[..., Any], arguments: Mapping[str, str]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in ones have none
        return {name: read_argument(text) for name, text in arguments.items()}
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind in _BY_NAME}
    for name in arguments:
        if name not in named and not open_ended:
            takes = f"takes {', '.join(named)}" if named else "takes no arguments"
            raise FactoryError(f"--arg {name}: {target} {takes}")
    for name, parameter in parameters.items():
        needed = parameter.default is parameter.empty and parameter.kind not in _OPTIONAL
        if needed and name not in arguments:
            raise FactoryError(f"{target} needs {name}: give --arg {name}=…")
    return {name: _argument(name, text, named.get(name)) for name, text in arguments.items()}


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_OPTIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _argument(name: str, text: str, parameter: inspect.Parameter | None) -> Any:
    if parameter is not None and parameter.annotation in (str, "str", Path, "Path"):
        return text
    value = read_argument(text)
    says_truth = parameter is not None and (
        isinstance(parameter.default, bool) or parameter.annotation in (bool, "bool")
    )
    if says_truth and isinstance(value, str):  # the text "false" would be true
        raise FactoryError(f"--arg {name}={text}: expected True or False")
    return value


def users_code(what: str, code: Callable[[], T]) -> T:
    """Run a user's code; what it raises becomes an error with its place there, what hnexport refuses stays as it is.

    Args:
        what: is being done, for the message.

    Raises:
        FactoryError: the code raised, or wanted to exit.
        KeyboardInterrupt, Interrupted: the command was asked to end meanwhile.
    """
    try:
        return code()
    except (HnexportError, KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:  # also an exit, and a panic of a library in Rust
        failed = error
    interrupt = next((one for one in _chain(failed) if isinstance(one, KeyboardInterrupt | Interrupted)), None)
    if interrupt is not None:  # the user's code made an error of it
        raise interrupt
    # Raised only here: an exit that led to it would be taken for that of the command, which has not built anything.
    said = str(failed) or "without a message"
    message = f"your code failed, {what}: {type(failed).__name__}: {said}{_hint(failed)}{users_line(failed)}"
    raise FactoryError(message) from (None if _exits(failed) else failed)


def _exits(error: BaseException) -> bool:
    return any(isinstance(one, SystemExit) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _hint(error: BaseException) -> str:
    if isinstance(error, ImportError) and "relative import" in str(error):
        return "; a file is run by itself: name its module, --from package.module:…, where the package's folder lies"
    return ""
