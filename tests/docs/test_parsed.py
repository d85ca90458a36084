"""Every command of every page can be parsed: options, make targets, extras and files exist."""

import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from page_tables import PROGRAMS
from pages.blocks import ROOT, blocks, pages
from pages.commands import Command, commands
from typed_pages import name

from hnexport.cli.main import cli

WITH_COMMANDS = [page for page in pages() if any(block.language == "sh" for block in blocks(page))]
each_page = pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
SHOWN_RUNNING = {"ls", "du", "python"}  # in the tutorials


def of(page: Path, *programs: str) -> Iterator[Command]:
    for block in blocks(page):
        for command in commands(block) if block.language == "sh" else ():
            if not programs or command.program in programs:
                yield command


@each_page
def test_only_programs_that_are_known_stand_in_the_pages(page: Path) -> None:
    assert {command.program for command in of(page)} <= {"hnexport", *SHOWN_RUNNING, *PROGRAMS}


@each_page
def test_options_and_arguments_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", as_path)
    for command in of(page, "hnexport"):
        try:
            parse(cli, list(command.words[1:]))
        except click.UsageError as error:
            pytest.fail(f"{command.place}: {command.text}: {error.format_message()}")


def as_path(kind: click.Path, value: str, *_: object) -> object:
    """Of a file that need not exist here."""
    return kind.type(value) if isinstance(kind.type, type) else value  # type: ignore[call-arg] # mypy takes it for another call


def parse(asked: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Parse a command with its options, and that of a group likewise; runs nothing."""
    context = asked.make_context(asked.name, arguments, parent=parent)
    if isinstance(asked, click.Group):
        rest = [*context._protected_args, *context.args]
        _, command, rest = asked.resolve_command(context, rest)
        assert command is not None
        parse(command, rest, context)


@each_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in of(page, "make"):
        asked = {word for word in command.words[1:] if "=" not in word and not word.startswith("-")}
        assert asked <= targets, command.place


@each_page
def test_extras_exist(page: Path) -> None:
    for command in of(page, "pip"):
        for place, extras in re.findall(
            r"(hnexport(?:-runtime)?|\.|\./tools/packaging/runtime)\[([a-z,]+)\]", command.text
        ):
            assert set(extras.split(",")) <= known_extras("runtime" in place), command.place


@functools.cache
def known_extras(runtime: bool) -> set[str]:
    project = ROOT / ("tools/packaging/runtime/pyproject.toml" if runtime else "pyproject.toml")
    return set(tomllib.loads(project.read_text())["project"]["optional-dependencies"])


@each_page
def test_programs_in_python_exist(page: Path) -> None:
    for command in of(page, "python"):
        for program in (word for word in command.words if word.endswith(".py")):
            assert (ROOT / program).exists() or (page.parent / program).exists(), command.place
