"""Every command of every page can be parsed: options, make targets, extras and files exist."""

import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt
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


@pytest.mark.parametrize("page", pages(), ids=name)
def test_options_that_stand_in_sentences_exist(page: Path) -> None:
    wrong = [f"`{code}`: {flag}" for code in inline(page) for flag in unknown_options(code)]
    assert not wrong


def test_a_stale_option_in_a_sentence_is_found() -> None:
    assert unknown_options("hnexport predict BUNDLE --out FILE --json") == set()
    assert unknown_options("hnexport predict --formats onnx") == {"--formats"}
    assert unknown_options("hnexport gone BUNDLE") == {"gone"}
    assert unknown_options("hnexport deploy triton --members") == set()
    assert unknown_options("--formats") == set()
    assert unknown_options("--never-heard-of") == {"--never-heard-of"}
    assert unknown_options("docker run --gpus all") == set()


def inline(page: Path) -> Iterator[str]:
    """What stands as code inside sentences."""
    for block in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        yield from (token.content for token in block.children or () if token.type == "code_inline")


def unknown_options(code: str) -> set[str]:
    """Options that no command has: the one that is named, or any of ours where it begins with the option."""
    words = code.split()
    flags = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code))
    if words[:1] == ["hnexport"]:
        rest = [word for word in words[1:] if not word.startswith("-")]
        if not rest or rest[0] in ("COMMAND", "…"):
            return set()
        known = options().get(" ".join(rest[:2]), options().get(rest[0]))
        return {rest[0]} if known is None else flags - known - options()[""]
    return flags - set().union(*options().values()) - ours() - OTHERS if code.startswith("--") else set()


OTHERS = {
    "--model-control-mode",  # Triton
    "--spawn_head",  # what late-phase.md converts
}


@functools.cache
def options() -> dict[str, frozenset[str]]:
    """The options of every command; those of `hnexport` itself under the empty name."""
    found: dict[str, frozenset[str]] = {}

    def look(command: click.Command, path: str) -> None:
        own = [spelling for parameter in command.params for spelling in (*parameter.opts, *parameter.secondary_opts)]
        found[path] = frozenset([*own, "--help"])
        if isinstance(command, click.Group):
            with click.Context(command) as context:
                for one in command.list_commands(context):
                    child = command.get_command(context, one)
                    assert child is not None
                    look(child, f"{path} {one}".strip())

    look(cli, "")
    return found


@functools.cache
def ours() -> set[str]:
    """The options of the programs in tools and examples."""
    files = (path for folder in ("tools", "examples") for path in (ROOT / folder).rglob("*.py"))
    return {flag for path in files for flag in re.findall(r"[\"'](--[a-z][\w-]*)", path.read_text(encoding="utf-8"))}


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
