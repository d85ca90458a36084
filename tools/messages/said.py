"""What is said without being raised: log lines, Python's warnings, and what is written to standard error."""

import ast
from collections.abc import Mapping

__all__ = ["ERROR", "WARNING", "said"]

WARNING = "warning"
ERROR = "error"
_LEVELS = {"warning": WARNING, "warn": WARNING, "error": ERROR, "exception": ERROR, "critical": ERROR, "fatal": ERROR}
_EXITS = ("sys.exit", "exit", "SystemExit")
_WARNS = ("warnings.warn", "warn")
_CODES = "exit_codes"  # the module of the codes, which are no messages
_CODE = "code"


def said(call: ast.Call) -> tuple[str, ast.expr] | None:
    """The kind of what a call says, and the expression of its text; None for a call that says no warning and no error.

    Progress and what is logged as information are no messages that anybody has to act on.
    """
    called, given = ast.unparse(call.func), {keyword.arg: keyword.value for keyword in call.keywords}
    first = call.args[0] if call.args else given.get("message", given.get("msg"))
    if called in _WARNS:
        return (WARNING, first) if first is not None else None
    if called in _EXITS:
        return (ERROR, first) if first is not None and not _is_code(first) else None
    if first is not None and (called in ("tell", "sys.stderr.write") or called.endswith((".tell", ".stderr.write"))):
        return ERROR, first
    if first is not None and _to_standard_error(called, given):
        return ERROR, first
    return _logged(call, first)


def _to_standard_error(called: str, given: Mapping[str | None, ast.expr]) -> bool:
    if called in ("click.echo", "click.secho"):
        err = given.get("err")
        return err is not None and not (isinstance(err, ast.Constant) and not err.value)
    return called == "print" and "file" in given and ast.unparse(given["file"]).endswith("stderr")


def _logged(call: ast.Call, first: ast.expr | None) -> tuple[str, ast.expr] | None:
    if not isinstance(call.func, ast.Attribute) or "log" not in ast.unparse(call.func.value):
        return None
    kind, arguments = _LEVELS.get(call.func.attr), call.args
    if call.func.attr == "log" and first is not None:
        kind, arguments = _LEVELS.get(ast.unparse(first).split(".")[-1].lower()), call.args[1:]
        first = arguments[0] if arguments else None
    if kind is None or first is None:
        return None
    is_whole = isinstance(first, ast.Constant) and first.value == "%s" and len(arguments) > 1
    return kind, arguments[1] if is_whole else first


def _is_code(value: ast.expr) -> bool:
    """Whether what a process ends with is a number."""
    if isinstance(value, ast.IfExp):
        return _is_code(value.body) and _is_code(value.orelse)
    if isinstance(value, ast.Constant):
        return not isinstance(value.value, str)
    is_code = isinstance(value, ast.Name) and value.id == _CODE
    return is_code or any(isinstance(one, ast.Name) and one.id == _CODES for one in ast.walk(value))
