"""What only one system has is asked in one place, and text is written the same everywhere: every module is parsed."""

import ast
from pathlib import Path

import hnexport

PACKAGE = Path(hnexport.__file__).parent
POSIX = {"resource", "fcntl", "pwd", "grp", "termios", "pty"}
ASKS_THE_KERNEL = ("machine/", "confine/")  # what it says below /proc and /sys, and in modules of POSIX alone
EXCEPTIONS = {"publishing/locks.py": {"fcntl"}}  # beside msvcrt, by the system
TEXT_MODES = {"w", "x", "a", "w+", "x+", "a+"}


def modules() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def at_import(tree: ast.AST) -> set[str]:
    """What is imported when a module is, but not inside functions."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= at_import(node)
    return found


def unlike_elsewhere(tree: ast.AST) -> list[int]:
    """Lines that write text whose encoding or line ends are the system's."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg for keyword in node.keywords}
        modes = {item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)}
        writes = name == "write_text" or (
            name in ("open", "fdopen") and modes & TEXT_MODES and "buffering" not in given
        )
        if writes and not {"encoding", "newline"} <= given:
            lines.append(node.lineno)
    return lines


def unlike_on_windows(tree: ast.AST) -> list[int]:
    """Lines whose temporary folder cannot hold a mapped file, or that read a process in any encoding."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {keyword.arg for keyword in node.keywords}
        wrong = {
            "TemporaryDirectory": "ignore_cleanup_errors" not in given,
            "NamedTemporaryFile": True,  # nobody else can open it there
            "run": "text" in given and "encoding" not in given,
            "Popen": "text" in given and "encoding" not in given,
            "check_output": "text" in given and "encoding" not in given,
        }
        if wrong.get(node.func.attr, False):
            lines.append(node.lineno)
    return lines


def imported(tree: ast.AST) -> set[str]:
    """What is imported anywhere, inside functions too."""
    return set().union(*(at_import(node) for node in ast.walk(tree)))


def kernel_asked(tree: ast.AST) -> list[int]:
    """Lines with a path below /proc or /sys, or with `os.sched_…`, which Linux alone has."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = node.value in ("/proc", "/sys") or node.value.startswith(("/proc/", "/sys/", "sched_"))
        elif isinstance(node, ast.Attribute):
            found = node.attr.startswith("sched_")
        elif isinstance(node, ast.ImportFrom):
            found = node.module == "os" and any(alias.name.startswith("sched_") for alias in node.names)
        else:
            continue
        if found:
            lines.append(node.lineno)
    return lines


def test_no_module_imports_what_only_posix_has() -> None:
    assert {name: found for name, tree in modules().items() if (found := at_import(tree) & POSIX)} == {}


def test_text_is_written_the_same_everywhere() -> None:
    assert {name: lines for name, tree in modules().items() if (lines := unlike_elsewhere(tree))} == {}


def test_windows_removes_temporary_folders_and_reads_what_processes_say() -> None:
    assert {name: lines for name, tree in modules().items() if (lines := unlike_on_windows(tree))} == {}


def test_the_kernel_is_asked_in_one_place() -> None:
    elsewhere = {name: tree for name, tree in modules().items() if not name.startswith(ASKS_THE_KERNEL)}
    assert {name: lines for name, tree in elsewhere.items() if (lines := kernel_asked(tree))} == {}


def test_what_only_posix_has_is_imported_in_one_place() -> None:
    elsewhere = {name: tree for name, tree in modules().items() if not name.startswith(ASKS_THE_KERNEL)}
    assert {name: found for name, tree in elsewhere.items() if (found := imported(tree) & POSIX)} == EXCEPTIONS


def test_planted_faults_are_found() -> None:
    assert at_import(ast.parse("try:\n    import fcntl\nexcept ImportError:\n    pass")) == {"fcntl"}
    assert at_import(ast.parse("def f():\n    import fcntl")) == set()
    assert unlike_elsewhere(ast.parse("path.write_text('x', encoding='utf-8')")) == [1]
    assert unlike_elsewhere(ast.parse("path.write_text('x', encoding='utf-8', newline='\\n')")) == []
    assert unlike_elsewhere(ast.parse("open(path, 'w')")) == [1]
    assert unlike_elsewhere(ast.parse("path.open('wb')")) == []
    assert unlike_on_windows(ast.parse("tempfile.TemporaryDirectory(prefix='x')")) == [1]
    assert unlike_on_windows(ast.parse("tempfile.TemporaryDirectory(ignore_cleanup_errors=True)")) == []
    assert unlike_on_windows(ast.parse("subprocess.run(x, text=True)")) == [1]
    assert unlike_on_windows(ast.parse("subprocess.run(x, encoding='utf-8')")) == []
    assert imported(ast.parse("class A:\n    def f():\n        if x:\n            import resource")) == {"resource"}
    for fault in (
        "open('/proc/stat')",
        "Path('/proc') / 'self'",
        "open(f'/sys/{name}')",
        "os.sched_getaffinity(0)",
        "getattr(os, 'sched_getaffinity')",
        "from os import sched_setaffinity",
    ):
        assert kernel_asked(ast.parse(fault)) == [1], fault
    assert kernel_asked(ast.parse("Path('/process') / sys.platform")) == []
