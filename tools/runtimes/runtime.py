"""What is said of a runtime. This module and those of runtimes need the standard library alone to be imported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IN_EXAMPLES = ("env", "PYTHONPATH={examples}/python", "{python}")
"""How examples in Python find examples/python/pictures.py."""
Run = Callable[..., list[Any] | None]
"""`(*arrays) -> arrays`, in the order of the file's inputs (the condition id first, where it has one) and outputs; None
where an id is refused."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime, and how it is run: by functions from Python, or by commands.

    Commands are given as words in which {python}, {bundle}, {golden}, {work}, {examples}, {packages} (of npm), {ids},
    {file}, {plain}, {own}, {id} (a member's) and {member} (that member's file) are filled in; {ids} becomes several
    words. `measure` prints one line of JSON with fields of `Row`: version, load_ms and what else was measured.

    Attributes:
        file: of the bundle; for a runtime that takes plain networks alone, of a member.
        plain: the member's file that a call is compared with; "" where there is no such comparison.
        own: the plain module, exported without hnexport, that a member is compared with; "" where it is not.
        exporter: what made that of it, in words.
        packages: of pip, in an environment of its own, `hnexport-runtime` as a wheel of this clone; none where the
            project's has them.
        constrained: to the versions of the project's own constraints.txt.
        tools: programs that must be there.
        variables: of the environment, for everything that is run.
        member: it takes one member as a plain file with a batch of 1.
        materialised: a member's weights are made once, by its first call.
        resident: the memory of a further member is measured (in `measure`, where that is a command).
        version_of: the distribution whose version is the runtime's.
        load: opens a file. Runs with one thread.
        convert: makes the file that is loaded, `(source, target)`.
        suffix: of the converted file.
        prepare, predict, measure: commands instead of `convert` and `load`.
        picture: a command that prints the class which member {id} ranks first of {picture} ({ppm}, as a binary PPM). It
            runs for every member, and is left out where CMake did not build it.
        conversion: what the table says where `prepare` is all that can be done.
        not_run: why nothing is run on this machine.
        remark: what a reader of the row should know.
    """

    name: str
    file: str
    plain: str = ""
    own: str = ""
    exporter: str = ""
    packages: tuple[str, ...] = ()
    constrained: bool = True
    tools: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    member: bool = False
    materialised: bool = False
    resident: bool = False
    version_of: str = ""
    load: Callable[[Path], Run] | None = None
    convert: Callable[[Path, Path], None] | None = None
    suffix: str = ""
    prepare: tuple[tuple[str, ...], ...] = ()
    predict: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()
    picture: tuple[str, ...] = ()
    conversion: str = ""
    not_run: str = ""
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was found of a runtime; what is None was not measured.

    Attributes:
        error: largest relative L2 error of a sample over all members, against PyTorch in float64.
        load_ms: of the file, its libraries already imported.
        call_ms: of the file.
        plain_ms: of a member's plain network.
        own_ms: of the same network as the runtime's own exporter makes it, without hnexport.
        resident_mb: memory of each further member that is kept ready.
        member_is_called: `call_ms` is that of a member by itself.
        exporter: what made the network of `own_ms`.
        why: there are numbers missing.
        failed: something ran and went wrong, so that the table is not what it should be.
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
    own_ms: float | None = None
    resident_mb: float | None = None
    member_is_called: bool = False
    exporter: str = ""
    why: str = ""
    failed: bool = False
    remark: str = ""
    measured: str = ""

    @property
    def member_ms(self) -> float | None:
        """A call of a member by itself."""
        return self.call_ms if self.member_is_called else self.plain_ms
