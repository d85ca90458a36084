"""What is said of a runtime. This module and those of runtimes need the standard library alone to be imported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Run = Callable[..., list[Any]]
"""`(*arrays) -> arrays`, in the order of the file's inputs (the condition id first, where it has one) and outputs."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime, and how it is run: by functions from Python, or by commands.

    Commands are given as words in which {python}, {bundle}, {golden}, {work}, {examples}, {ids}, {file}, {plain} and
    {member} (a member's file) are filled in; {ids} becomes several words. `measure` prints one line of JSON: version,
    load_ms, call_ms, plain_ms.

    Attributes:
        file: of the bundle; for a runtime that takes plain networks alone, of a member.
        plain: the member's file that a call is compared with; "" where there is no such comparison.
        packages: of pip, in an environment of its own; none where the project's has them.
        tools: programs that must be there.
        member: it takes one member as a plain file with a batch of 1.
        version_of: the distribution whose version is the runtime's.
        load: opens a file. Runs with one thread.
        convert: makes the file that is loaded, `(source, target)`.
        suffix: of the converted file.
        prepare, predict, measure: commands instead of `convert` and `load`.
        conversion: what the table says where `prepare` is all that can be done.
        not_run: why nothing is run, whatever the machine.
        remark: what a reader of the row should know.
    """

    name: str
    file: str
    plain: str = ""
    packages: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    member: bool = False
    version_of: str = ""
    load: Callable[[Path], Run] | None = None
    convert: Callable[[Path, Path], None] | None = None
    suffix: str = ""
    prepare: tuple[tuple[str, ...], ...] = ()
    predict: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()
    conversion: str = ""
    not_run: str = ""
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table; what is None was not measured.

    Attributes:
        error: largest relative L2 error of a sample over all members, against PyTorch in float64.
        failure: why there is no such number, or nothing after it.
        wrong: the number is too large, or what is here did not run.
    """

    name: str
    file: str
    version: str = ""
    error: float | None = None
    ids: str = ""
    nan: str = ""
    load_ms: float | None = None
    call_ms: float | None = None
    plain_ms: float | None = None
    failure: str = ""
    wrong: bool = False
    remark: str = ""
    measured: str = ""
