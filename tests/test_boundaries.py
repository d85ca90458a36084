"""The data flows one way, nothing names what is one family's, and modules are small: every module is parsed.

Imports count wherever in the file they stand; where that matters, those that run at import time are told apart.
"""

import ast
import functools
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hnexport

PACKAGE = Path(hnexport.__file__).parent
# Modules of later parts may have a place here before they exist.
ORDER = (
    ("errors", "interrupts", "machine", "spelling"),
    ("reading", "schemas"),
    (
        "records",
        "progress",
        "installed",
        "complete",
        "publishing",
        "text",
        "pages",
        "blame",
        "names",
        "number_lists",
        "members",
    ),
    ("spec",),
    ("dotted", "rows"),
    ("halves", "programs"),
    ("hypernet",),
    # a family gives an ensemble, and `Ensemble.from_modules` is a family's
    ("families", "ensemble", "double", "training", "recalibration"),
    ("networks",),
    ("factories",),
    ("export",),
    ("bundle",),
    ("confine",),
    ("images",),
    ("datasets",),
    ("card",),
    ("parity",),
    ("build",),
    ("evaluate",),
    ("score",),
    ("quantise",),
    ("doctor", "member", "tune", "deploy"),
    ("serve",),
    ("bench",),
    ("cli", "__main__"),
)
RANK = {stage: rank for rank, stages in enumerate(ORDER) for stage in stages}
# `hnexport` itself is the public surface, and `runtime` stands beside the flow: what it may import is tested below.
BESIDE = {"", "runtime"}
HEAVY = ("torch", "onnx", "onnxscript", "onnx_ir", "hypnettorch")
LIGHT = (
    "hnexport",
    "hnexport.card",
    "hnexport.datasets",
    "hnexport.deploy",
    "hnexport.errors",
    "hnexport.evaluate",
    "hnexport.families",
    "hnexport.hypernet.joined",
    "hnexport.hypernet.plan",
    "hnexport.hypernet.storage",
    "hnexport.machine",
    "hnexport.machine.memory",
    "hnexport.machine.processor",
    "hnexport.names",
    "hnexport.networks.hypernetwork.family",
    "hnexport.networks.hypnettorch.family",
    "hnexport.networks.recipes.family",
    "hnexport.networks.recipes.planners",
    "hnexport.networks.recipes.recipe",
    "hnexport.networks.recipes.storage",
    "hnexport.networks.steps.written",
    "hnexport.networks.wide_resnet.chunking",
    "hnexport.networks.wide_resnet.counts",
    "hnexport.networks.wide_resnet.family",
    "hnexport.networks.wide_resnet.options",
    "hnexport.networks.wide_resnet.slots",
    "hnexport.networks.wide_resnet.storage",
    "hnexport.publishing",
    "hnexport.reading",
    "hnexport.records",
    "hnexport.schemas",
    "hnexport.score",
    "hnexport.serve",
    "hnexport.spec",
    "hnexport.spec.source",
    "hnexport.spelling",
    "hnexport.spec.summaries",
)
# What is one family's stays in its folder: module names, and the specifications that only it understands.
TENANT = "networks.wide_resnet"
TENANT_WORDS = re.compile(r"networks\.wide_resnet|PipelineSpec|WideResNet(?!s\b)\w*")
NAMES_THE_TENANT = ("", "families")  # the public surface and the table of families
MOST_LINES, MEDIAN_LINES = 400, 120
LONG_FUNCTION, LONG_SHARE = 40, 0.03


def modules(package: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name; a package's `__init__` has the package's name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A file's tree, made once; nobody may change it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module: str, path: Path, *, at_import_only: bool = False) -> Iterator[str]:
    """Every dotted name that a file imports; with `at_import_only`, leave out functions and `if TYPE_CHECKING:`."""
    pending: list[ast.AST] = [parsed(path)]
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


def names_the_tenant(package: Path) -> list[str]:
    """Modules outside the family's folder whose code or text names it or what only it understands."""
    home = f"{package.name}.{TENANT}"
    return [
        module
        for module, path in modules(package).items()
        if stage(module) not in NAMES_THE_TENANT
        and module != home
        and not module.startswith(f"{home}.")
        and (
            TENANT_WORDS.search(path.read_text(encoding="utf-8"))
            or any(imported == home or imported.startswith(f"{home}.") for imported in imports(module, path))
        )
    ]


def above(imported: str, module: str) -> Iterator[str]:
    """The packages that importing a module runs first, but those that a module lies in: they are running already."""
    parts = imported.split(".")
    for end in range(1, len(parts)):
        package = ".".join(parts[:end])
        if not module.startswith(f"{package}."):
            yield package


def circles(package: Path) -> list[str]:
    """Circles of modules that import each other at import time, each once, with every module on the way."""
    known = modules(package)
    graph = {
        module: sorted(
            {
                name
                for imported in imports(module, path, at_import_only=True)
                for name in (imported, *above(imported, module))
                if name in known and name != module
            }
        )
        for module, path in known.items()
    }
    found: list[str] = []
    done: set[str] = set()

    def follow(module: str, way: list[str]) -> None:
        if module in way:
            found.append(" -> ".join([*way[way.index(module) :], module]))
        elif module not in done:
            for imported in graph[module]:
                follow(imported, [*way, module])
            done.add(module)

    for module in graph:
        follow(module, [])
    return found


def oversized(package: Path) -> list[str]:
    """Modules of more lines than are allowed, and, where they are too many, functions; the median where it is."""
    lines, functions = {}, {}
    for module, path in modules(package).items():
        text = path.read_text(encoding="utf-8")
        lines[module] = len(text.splitlines())
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[f"{module}.{node.name}:{node.lineno}"] = (node.end_lineno or 0) - node.lineno + 1
    wrong = [f"{module} has {count} lines" for module, count in lines.items() if count > MOST_LINES]
    if statistics.median(lines.values()) > MEDIAN_LINES:
        wrong.append(f"the median module has {statistics.median(lines.values()):g} lines")
    long = [f"{name} has {count} lines" for name, count in functions.items() if count > LONG_FUNCTION]
    return wrong + (long if len(long) > LONG_SHARE * len(functions) else [])


def test_no_stage_imports_a_later_one_and_nothing_imports_the_cli() -> None:
    assert backward_imports(PACKAGE) == []


def test_the_runtime_imports_neither_torch_nor_onnx() -> None:
    assert heavy_imports(PACKAGE, "hnexport.runtime") == []


def test_nothing_outside_a_familys_folder_names_it() -> None:
    assert names_the_tenant(PACKAGE) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(PACKAGE) == []


def test_modules_and_functions_are_small() -> None:
    assert oversized(PACKAGE) == []


# Forks a process for each module, which finds other people's light libraries there and nothing of hnexport.
IMPORTED = """
import importlib, json, os, sys
import click, numpy, onnxruntime, rich.console
held = {name for name in sys.modules if name.split(".")[0] in ("hnexport", *HEAVY)}
assert not held, held
for module in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        try:
            importlib.import_module(module)
            found = sorted(set(sys.modules) & set(HEAVY))
        except BaseException as error:
            found = [repr(error)]
        print(json.dumps([module, found]), flush=True)
        os._exit(0)
    os.wait()
"""
LIGHT_MODULES = [*LIGHT, *(name for name in modules(PACKAGE) if stage(name) == "runtime")]


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """The heavy libraries that importing each of `LIGHT_MODULES` brings into a process of its own."""
    code = f"HEAVY = {HEAVY!r}\n{IMPORTED}"
    done = subprocess.run([sys.executable, "-c", code, *LIGHT_MODULES], check=True, capture_output=True, text=True)
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_a_light_module_imports_neither_torch_nor_onnx_in_a_process_of_its_own(
    module: str, imported: dict[str, list[str]]
) -> None:
    assert imported[module] == []


PLANTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "at the top": ({"spec.py": "from pkg.build import x"}, ["pkg.spec imports pkg.build"]),
    "inside a function": ({"spec.py": "def f():\n    import pkg.build"}, ["pkg.spec imports pkg.build"]),
    "relative": ({"networks/a.py": "from ..build import x"}, ["pkg.networks.a imports pkg.build"]),
    "a module as a name": ({"spec.py": "from pkg import build"}, ["pkg.spec imports pkg.build"]),
    "the cli": ({"runtime/a.py": "import pkg.cli.main"}, ["pkg.runtime.a imports pkg.cli.main"]),
    "no place": ({"misc.py": ""}, ["pkg.misc has no place in the order"]),
    "forward": ({"cli/a.py": "import pkg.build", "networks/a.py": "from pkg.spec import x"}, []),
}


def plant(root: Path, files: dict[str, str]) -> Path:
    package = root / "pkg"
    for name in ("__init__", "spec", "build", "networks/__init__", "cli/__init__", "cli/main", "runtime/__init__"):
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


TENANT_PLANTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "an import": ({"a.py": "from pkg.networks.wide_resnet.x import y"}, ["pkg.a"]),
    "inside a function": ({"a.py": "def f():\n    import pkg.networks.wide_resnet"}, ["pkg.a"]),
    "relative": ({"networks/a.py": "from .wide_resnet import x"}, ["pkg.networks.a"]),
    "for type checking alone": (
        {"a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.networks import wide_resnet"},
        ["pkg.a"],
    ),
    "a name": ({"a.py": "def f(spec: PipelineSpec): ..."}, ["pkg.a"]),
    "an attribute": ({"a.py": "import pkg\npkg.WideResNetSpec"}, ["pkg.a"]),
    "a module's name as text": ({"a.py": "m = 'pkg.networks.wide_resnet.family'"}, ["pkg.a"]),
    "the docstring": ({"a.py": '"""See `PipelineSpec`."""'}, ["pkg.a"]),
    "inside": ({"networks/wide_resnet/a.py": "from pkg.networks.wide_resnet import PipelineSpec"}, []),
    "a neighbour": ({"networks/wide_resnet_like.py": "x = 1", "a.py": "from pkg.networks import wide_resnet_like"}, []),
    "the table of families": ({"families.py": "'pkg.networks.wide_resnet.family'"}, []),
    "the words": ({"a.py": '"""Works for Wide ResNets too."""'}, []),
}


@pytest.mark.parametrize(("files", "expected"), TENANT_PLANTED.values(), ids=TENANT_PLANTED.keys())
def test_a_planted_name_of_the_family_is_found(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    files = {"networks/wide_resnet/__init__.py": "", "networks/wide_resnet/x.py": "", **files}
    assert names_the_tenant(plant(tmp_path, files)) == expected


CIRCLES_PLANTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "two": ({"a.py": "import pkg.b", "b.py": "from pkg.a import x"}, ["pkg.a -> pkg.b -> pkg.a"]),
    "three": (
        {"a.py": "import pkg.b", "b.py": "from pkg import c", "c.py": "from . import a"},
        ["pkg.a -> pkg.b -> pkg.c -> pkg.a"],
    ),
    "through a package": (
        {"n/__init__.py": "from pkg.n.a import x", "n/a.py": "from pkg.n import b", "n/b.py": ""},
        ["pkg.n -> pkg.n.a -> pkg.n"],
    ),
    "through a package of a module": (
        {"n/__init__.py": "import pkg.n.a", "n/a.py": "import pkg.b", "n/c.py": "", "b.py": "from pkg.n.c import x"},
        ["pkg.b -> pkg.n -> pkg.n.a -> pkg.b"],
    ),
    "beside each other in a package": (
        {"n/__init__.py": "import pkg.n.a", "n/a.py": "import pkg.n.c", "n/c.py": "import pkg.b", "b.py": ""},
        [],
    ),
    "deferred": ({"a.py": "import pkg.b", "b.py": "def f():\n    import pkg.a"}, []),
    "a diamond": ({"a.py": "import pkg.b, pkg.c", "b.py": "import pkg.d", "c.py": "import pkg.d", "d.py": ""}, []),
}


@pytest.mark.parametrize(("files", "expected"), CIRCLES_PLANTED.values(), ids=CIRCLES_PLANTED.keys())
def test_a_planted_circle_is_found(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    assert circles(plant(tmp_path, files)) == expected


def function(lines: int, name: str = "f") -> str:
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


SIZES_PLANTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "a long module": ({"a.py": "x = 1\n" * 401}, ["pkg.a has 401 lines"]),
    "not quite": ({"a.py": "x = 1\n" * 400}, []),
    "long modules everywhere": (
        {f"m{number}.py": "x = 1\n" * 121 for number in range(20)},
        ["the median module has 121 lines"],
    ),
    "too many long functions": ({"a.py": function(41)}, ["pkg.a.f:1 has 41 lines"]),
    "a method": ({"a.py": "class A:\n    def f(self):\n" + "        x = 1\n" * 40}, ["pkg.a.f:2 has 41 lines"]),
    "a rare long function": ({"a.py": function(41) + "".join(function(2, f"g{n}") for n in range(40))}, []),
    "functions of 40 lines": ({"a.py": function(40)}, []),
}


@pytest.mark.parametrize(("files", "expected"), SIZES_PLANTED.values(), ids=SIZES_PLANTED.keys())
def test_planted_excess_is_found(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    assert oversized(plant(tmp_path, files)) == expected
