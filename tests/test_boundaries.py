"""The data flows one way: every module is parsed for what it imports, wherever in the file the import stands."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hnexport

PACKAGE = Path(hnexport.__file__).parent
ORDER = (
    ("errors", "interrupts"),
    ("reading",),
    ("records", "progress", "installed", "publishing", "text"),
    ("spec",),
    ("networks",),
    ("hypernet",),
    ("pipeline",),
    ("checkpoints",),
    ("export",),
    ("bundle",),
    ("confine", "trust"),
    ("images", "summary"),
    ("parity",),
    ("build",),
    ("report", "doctor", "tune"),
    ("bench",),
    ("cli", "__main__"),
)
RANK = {stage: rank for rank, stages in enumerate(ORDER) for stage in stages}
# `hnexport` itself is the public surface, and `runtime` stands beside the flow: what it may import is tested below.
BESIDE = {"", "runtime"}
HEAVY = ("torch", "onnx", "onnxscript", "onnx_ir", "hypnettorch")
LIGHT = (
    "hnexport",
    "hnexport.errors",
    "hnexport.reading",
    "hnexport.records",
    "hnexport.publishing",
    "hnexport.spec",
    "hnexport.networks.wide_resnet.slots",
    "hnexport.networks.wide_resnet.chunking",
    "hnexport.hypernet.storage",
)


def modules(package: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name; a package's `__init__` has the package's name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, *, at_import_only: bool = False) -> Iterator[str]:
    """Every dotted name that a file imports; with `at_import_only`, leave out functions and `if TYPE_CHECKING:`."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import_only and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            base = ".".join(above[: len(above) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def stage(module: str) -> str:
    return [*module.split("."), ""][1]


def backward_imports(package: Path) -> list[str]:
    """Imports of a later stage by an earlier one, of `cli` by anything, and of modules without a place in the order."""
    known, wrong = modules(package), []
    for module, path in known.items():
        own = stage(module)
        if own not in RANK and own not in BESIDE:
            wrong.append(f"{module} has no place in the order")
        for imported in imports(module, path):
            other = stage(imported)
            if imported not in known or own == other:
                continue
            later = own in RANK and other in RANK and RANK[other] > RANK[own]
            from_cli = other == "cli" and own != "__main__"
            if later or from_cli:
                wrong.append(f"{module} imports {imported}")
    return wrong


def heavy_imports(package: Path, start: str) -> list[str]:
    """Heavy libraries that importing `start` (or calling anything in it) would import, through our own modules."""
    known, wrong = modules(package), []
    pending = [name for name in known if name == start or name.startswith(f"{start}.")]
    own, seen = set(pending), set(pending)
    while pending:
        module = pending.pop()
        for imported in imports(module, known[module], at_import_only=module not in own):
            if imported.split(".")[0] in HEAVY:
                wrong.append(f"{module} imports {imported}")
            parts = imported.split(".")
            for name in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
                if name in known and name not in seen:
                    seen.add(name)
                    pending.append(name)
    return sorted(set(wrong))


def test_no_stage_imports_a_later_one_and_nothing_imports_the_cli() -> None:
    assert backward_imports(PACKAGE) == []


def test_the_runtime_imports_neither_torch_nor_onnx() -> None:
    assert heavy_imports(PACKAGE, "hnexport.runtime") == []


@pytest.mark.parametrize("module", [*LIGHT, *(name for name in modules(PACKAGE) if stage(name) == "runtime")])
def test_a_light_module_imports_neither_torch_nor_onnx_in_a_fresh_process(module: str) -> None:
    code = f"import sys, {module}; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


PLANTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "at the top": ({"spec.py": "from pkg.pipeline import x"}, ["pkg.spec imports pkg.pipeline"]),
    "inside a function": ({"spec.py": "def f():\n    import pkg.pipeline"}, ["pkg.spec imports pkg.pipeline"]),
    "relative": ({"networks/a.py": "from ..pipeline import x"}, ["pkg.networks.a imports pkg.pipeline"]),
    "a module as a name": ({"spec.py": "from pkg import pipeline"}, ["pkg.spec imports pkg.pipeline"]),
    "the cli": ({"runtime/a.py": "import pkg.cli.main"}, ["pkg.runtime.a imports pkg.cli.main"]),
    "no place": ({"misc.py": ""}, ["pkg.misc has no place in the order"]),
    "forward": ({"cli/a.py": "import pkg.pipeline", "networks/a.py": "from pkg.spec import x"}, []),
}


def plant(root: Path, files: dict[str, str]) -> Path:
    package = root / "pkg"
    for name in ("__init__", "spec", "pipeline", "networks/__init__", "cli/__init__", "cli/main", "runtime/__init__"):
        files = {f"{name}.py": "", **files}
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize(("files", "expected"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_backward_import_is_found(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    assert backward_imports(plant(tmp_path, files)) == expected


HEAVY_PLANTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "directly": ({"runtime/a.py": "def f():\n    import torch.nn"}, ["pkg.runtime.a imports torch.nn"]),
    "through a module": (
        {"runtime/a.py": "from pkg.networks import b", "networks/b.py": "import onnx"},
        ["pkg.networks.b imports onnx"],
    ),
    "through a package": (
        {"runtime/a.py": "import pkg.networks.b", "networks/b.py": "", "networks/__init__.py": "import torch"},
        ["pkg.networks imports torch"],
    ),
    "deferred elsewhere": ({"runtime/a.py": "import pkg.spec", "spec.py": "def f():\n    import torch"}, []),
    "onnxruntime": ({"runtime/a.py": "import onnxruntime, numpy"}, []),
}


@pytest.mark.parametrize(("files", "expected"), HEAVY_PLANTED.values(), ids=HEAVY_PLANTED.keys())
def test_a_planted_heavy_import_of_the_runtime_is_found(
    files: dict[str, str], expected: list[str], tmp_path: Path
) -> None:
    assert heavy_imports(plant(tmp_path, files), "pkg.runtime") == expected
