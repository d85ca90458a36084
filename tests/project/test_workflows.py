"""The hosted workflows call `make` targets that exist, with pinned actions and no more rights than they need."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
NEEDED = {"github-actions": ".github/workflows", "npm": "package.json", "pip": "pyproject.toml"}
"""What each of Dependabot's ecosystems reads in a folder."""
RIGHTS = {"docs.yml": {"publish": {"pages", "id-token"}}, "release.yml": {"publish": {"id-token"}}}
"""The jobs that may write something, and what."""


def workflow(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def targets(text: str) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", text, re.MULTILINE))


def called(path: Path) -> set[str]:
    """The targets that a workflow makes; those of a matrix are filled in."""
    found = set()
    for job in workflow(path)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in job["steps"]:
            for words in re.findall(r"\bmake ((?:\$\{\{ matrix\.\w+ \}\}|[a-z-]+))", step.get("run", "")):
                of = re.fullmatch(r"\$\{\{ matrix\.(\w+) \}\}", words)
                found |= set(matrix[of[1]]) if of else {words}
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_target_that_a_workflow_makes_exists(path: Path) -> None:
    made = called(path)
    assert made
    assert made <= targets((ROOT / "Makefile").read_text(encoding="utf-8"))


def test_every_target_that_contributing_names_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert "lint" in named
    assert named <= targets((ROOT / "Makefile").read_text(encoding="utf-8"))


def test_a_target_that_is_not_there_is_found(tmp_path: Path) -> None:
    path = tmp_path / "w.yml"
    path.write_text(
        "jobs: {a: {strategy: {matrix: {of: [test, tset]}}, steps: [{run: 'make ${{ matrix.of }}'}, {run: make x}]}}"
    )
    assert called(path) == {"test", "tset", "x"}
    assert targets("test: a\nlint:\nA := b\nx := y\n") == {"test", "lint"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit_and_say_their_version(path: Path) -> None:
    used = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    loose = [line for line in used if not re.fullmatch(r"(- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)]
    assert not loose


def commits(texts: Iterable[str]) -> dict[str, set[str]]:
    """Each action, and the commits and versions at which it is used."""
    found: dict[str, set[str]] = {}
    for action, pin in re.findall(r"uses: ([\w./-]+)@(.+)", "\n".join(texts)):
        found.setdefault(action, set()).add(pin.strip())
    return found


def test_an_action_has_one_commit_everywhere() -> None:
    found = commits(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert "actions/checkout" in found
    assert {action: pins for action, pins in found.items() if len(pins) > 1} == {}
    assert commits(["- uses: a/b@1 # v1\n", "uses: a/b@2 # v1"]) == {"a/b": {"1 # v1", "2 # v1"}}


def asked(text: str) -> list[str]:
    """The tests that `make … TESTS=…` names."""
    return [
        name
        for quoted, bare in re.findall(r"""TESTS=(?:["']([^"']*)|(\S+))""", text)
        for name in (quoted or bare).split()
    ]


def test_the_tests_that_a_workflow_names_exist() -> None:
    named = [name for path in WORKFLOWS for name in asked(path.read_text(encoding="utf-8"))]
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert asked('make test TESTS="tests/a tests/b.py"; make test TESTS=tests/c') == [
        "tests/a",
        "tests/b.py",
        "tests/c",
    ]


def unread(updates: dict[Any, Any]) -> list[str]:
    """The folders that Dependabot is sent to, and that have nothing for it."""
    return [
        f"{update['package-ecosystem']}: {folder}"
        for update in updates["updates"]
        for folder in update.get("directories", [update.get("directory")])
        if not (ROOT / folder.strip("/") / NEEDED[update["package-ecosystem"]]).exists()
    ]


def test_dependabot_reads_folders_that_have_something_for_it() -> None:
    assert unread(workflow(GITHUB / "dependabot.yml")) == []
    npm = {"package-ecosystem": "npm", "directories": ["/tests/web", "/docs", "/gone"]}
    pip = {"package-ecosystem": "pip", "directory": "/tests"}
    assert unread({"updates": [npm, pip]}) == ["npm: /docs", "npm: /gone", "pip: /tests"]


def packages(root: Path) -> set[str]:
    """The folders of a clone with a `package.json` of ours, as Dependabot names them."""
    others = {"node_modules", "build", "dist"}
    found = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in others and not name.startswith(".")]
        if "package.json" in files:
            found.add(f"/{Path(folder).relative_to(root).as_posix()}")
    return found


def test_dependabot_reads_every_folder_with_packages_of_npm(tmp_path: Path) -> None:
    [npm] = [one for one in workflow(GITHUB / "dependabot.yml")["updates"] if one["package-ecosystem"] == "npm"]
    assert set(npm["directories"]) == packages(ROOT)
    for name in ("a", "a/b", "a/node_modules/c", ".venv/d"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "package.json").touch()
    assert packages(tmp_path) == {"/a", "/a/b"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_only_the_jobs_that_publish_may_more(path: Path) -> None:
    found = workflow(path)
    assert found["permissions"] == {"contents": "read"}
    more = {name: set(job["permissions"]) for name, job in found["jobs"].items() if "permissions" in job}
    assert more == RIGHTS.get(path.name, {})
    assert all(job.get("timeout-minutes", 360) <= 90 for job in found["jobs"].values())
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_what_publishes_runs_no_code_of_this_repository() -> None:
    for name, jobs in RIGHTS.items():
        for job in jobs:
            found = workflow(GITHUB / "workflows" / name)["jobs"][job]
            assert not any(
                "checkout" in step.get("uses", "") or "make " in step.get("run", "") for step in found["steps"]
            )


def test_the_linux_job_runs_every_python_that_the_classifiers_name() -> None:
    tested = workflow(GITHUB / "workflows/ci.yml")["jobs"]["linux"]["strategy"]["matrix"]["python"]
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(named) <= set(tested)


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: path.name)
def test_yaml_can_be_read(path: Path) -> None:
    assert isinstance(workflow(path), dict)


def test_forms_ask_for_what_doctor_says() -> None:
    for name in ("bug.yml", "parity.yml"):
        labels = [item["attributes"].get("label", "") for item in workflow(GITHUB / "ISSUE_TEMPLATE" / name)["body"]]
        assert any("hnexport doctor --json" in label for label in labels)
