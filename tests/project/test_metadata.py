"""What the two distributions say of themselves, and that constraints.txt, the hooks and CITATION.cff agree with it."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "tools/packaging/runtime"
SYSTEMS = {
    "Linux x86-64": {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    },
    "Linux aarch64": {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "aarch64",
        "os_name": "posix",
    },
    "macOS arm64": {
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "platform_machine": "arm64",
        "os_name": "posix",
    },
    "Windows x86-64": {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "platform_machine": "AMD64",
        "os_name": "nt",
    },
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def project(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return found


def pins() -> list[Requirement]:
    """The lock's lines; a package has several, if Pythons need different versions of it."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def version(pin: Requirement) -> str:
    (one,) = pin.specifier
    assert one.operator == "=="
    return one.version


def asked() -> list[Requirement]:
    """What both distributions need, with every extra, and the tools of constraints.in."""
    whole, runtime = project(ROOT), project(RUNTIME)
    texts = [*whole["tool"]["hnexport"]["dependencies"], *runtime["project"]["dependencies"]]
    for one in (whole, runtime):
        for needed in one["project"]["optional-dependencies"].values():
            texts += needed
    tools = (ROOT / "constraints.in").read_text(encoding="utf-8").splitlines()
    texts += [line for line in tools if line and not line.startswith("#")]
    return [found for found in map(Requirement, texts) if canonicalize_name(found.name) != "hnexport"]


def test_both_distributions_say_the_same_of_what_they_share() -> None:
    whole, runtime = project(ROOT)["project"], project(RUNTIME)["project"]
    for name in ("authors", "classifiers", "license", "license-files", "requires-python", "urls"):
        assert whole[name] == runtime[name], name
    assert whole["authors"] == [{"name": "The hnexport authors"}]
    assert (RUNTIME / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for name in ("openvino", "score", "ray", "serve"):
        assert whole["optional-dependencies"][name] == runtime["optional-dependencies"][name], name


def test_the_project_has_the_addresses_that_readers_look_for() -> None:
    assert {"Homepage", "Documentation", "Repository", "Changelog", "Issues"} <= set(project(ROOT)["project"]["urls"])


def test_the_citation_says_what_the_project_says() -> None:
    said, metadata = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8")), project(ROOT)["project"]
    assert said["title"] == metadata["name"]
    assert said["authors"] == metadata["authors"]
    assert said["license"] == metadata["license"]
    assert said["repository-code"] == metadata["urls"]["Repository"]
    assert said["url"] == metadata["urls"]["Documentation"]


def uncovered(system: dict[str, str], python: str) -> set[str]:
    """What is asked for on a system and not pinned there, or pinned to a version that will not do.

    What the packages need in their turn is followed as far as that version is installed here.
    """
    here = {name: str(value) for name, value in default_environment().items()}
    environment = {**here, **system, "python_version": python, "python_full_version": f"{python}.0"}
    there = [pin for pin in pins() if pin.marker is None or pin.marker.evaluate({**environment, "extra": ""})]
    known, wrong = {canonicalize_name(pin.name): version(pin) for pin in there}, set()
    assert len(known) == len(there)
    pending, seen = [(found, "") for found in asked()], set()
    while pending:
        found, extra = pending.pop()
        name = canonicalize_name(found.name)
        if found.marker is not None and not found.marker.evaluate({**environment, "extra": extra}):
            continue
        if name not in known or not found.specifier.contains(known[name], prereleases=True):
            wrong.add(str(found))
            continue
        for further in ("", *found.extras):
            if (name, further) in seen:
                continue
            seen.add((name, further))
            pending += [(needed, further) for needed in required(name, known[name])]
    return wrong


def required(name: str, version: str) -> list[Requirement]:
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    if found.version.partition("+")[0] != version:
        return []
    return [Requirement(text) for text in found.requires or ()]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_that_is_asked_for_is_pinned(system: str, python: str) -> None:
    assert not uncovered(SYSTEMS[system], python)


def test_the_lock_names_no_place() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|@|--", text)


def test_the_hooks_have_the_versions_of_the_lock() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repository["repo"] for repository in hooks["repos"]} == {"local"}
    named = [
        Requirement(text)
        for repository in hooks["repos"]
        for hook in repository["hooks"]
        for text in hook.get("additional_dependencies", ())
    ]
    assert {"ruff", "pre-commit-hooks"} == {found.name for found in named}
    for found in named:
        assert [version(found)] == [version(pin) for pin in pins() if pin.name == found.name], found


def lint_commands(makefile: str) -> set[str]:
    """What `make lint` runs: programs of the environment, with ruff's subcommand."""
    [recipe] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return {text.strip() for text in re.findall(r"\$\(BIN\)/(\w+(?: [a-z]+)?)", recipe)}


def test_the_hooks_run_what_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    run = lint_commands((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert run == {"ruff check", "ruff format", "mypy"}
    committed = {
        " ".join(hook["entry"].split()[:2])
        for hook in hooks
        if hook["entry"].startswith(tuple(one.split()[0] for one in run))
    }
    assert committed == run - {"mypy"}, "mypy needs the whole environment: it is in `make lint`, before a push"
    [push] = [hook for hook in hooks if hook.get("stages") == ["pre-push"]]
    assert (push["entry"], push["language"], push["always_run"]) == ("make lint", "system", True)
    assert lint_commands("lint: a  ## b\n\t$(BIN)/ruff check .\n\t$(BIN)/new\n\nclean:\n\t$(BIN)/x\n") == {
        "ruff check",
        "new",
    }
