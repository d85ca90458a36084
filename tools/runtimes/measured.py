"""One runtime's row: everything is run, and nothing that goes wrong stops the others."""

import datetime
import json
import os
import re
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from hnexport.errors import HnexportError
from runtimes.commands import ROOT, FailedError, NotRunError, python_of, run
from runtimes.judge import LIMIT, largest_error, of_nan_image, of_unknown_ids
from runtimes.runtime import Row, Runtime
from runtimes.stage import MEMBERS, UNKNOWN, Stage, golden_folder, strange_folder


class Attempt:
    """A runtime with its files, in a folder of its own."""

    def __init__(self, module: str, runtime: Runtime, stage: Stage, folder: Path, python: Path) -> None:
        self.module, self.runtime, self.stage, self.folder, self.python = module, runtime, stage, folder, python
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def words(
        self,
        template: tuple[str, ...],
        golden: Path | None = None,
        ids: tuple[int, ...] = (),
        member: Path | None = None,
    ) -> list[str]:
        """A command with what its words stand for."""
        values = {
            "python": self.python,
            "bundle": self.stage.bundle,
            "file": self.runtime.file,
            "plain": self.plain,
            "golden": golden,
            "member": member,
            "work": self.folder,
            "examples": ROOT / "examples",
            "packages": ROOT / "tests" / "runtimes" / "node_modules",
        }
        words: list[str] = []
        for word in template:
            words.extend(map(str, ids) if word == "{ids}" else [word.format(**values)])
        return words

    @property
    def plain(self) -> Path | str:
        """The plain network that a call is compared with."""
        return self.stage.plain / self.runtime.plain if self.runtime.plain else ""

    def drive(self, *words: object) -> str:
        """Run the module's own functions."""
        return run([str(self.python), "-m", "runtimes.drive", self.module, *map(str, words)])

    def source(self, member: int) -> Path:
        """What the runtime is given: the bundle's file, or that of a member."""
        if not self.runtime.member:
            return self.stage.bundle / self.runtime.file
        form = Path(self.runtime.file).suffix[1:]
        return self.stage.fixed / form / f"member-{member}.{form}"

    def converted(self, source: Path) -> Path:
        """The file that is loaded, of what the runtime is given."""
        if self.runtime.convert is None:
            return source
        target = self.folder / f"{source.stem}{self.runtime.suffix}"
        if not target.exists():
            self.drive("convert", source, target)
        return target

    def predict(self, golden: Path, ids: tuple[int, ...], members: range) -> None:
        """Write what the runtime makes of a folder of inputs."""
        runtime = self.runtime
        if runtime.member:
            for member in members:
                file = self.converted(self.source(member))
                if runtime.predict:
                    run(self.words(runtime.predict, golden, member=file))
                else:
                    self.drive("predict", file, golden, member)
        elif runtime.predict:
            run(self.words(runtime.predict, golden, ids))
        else:
            self.drive("predict", self.converted(self.source(0)), golden)

    def measure(self) -> dict[str, float | str | None]:
        """Version and times."""
        if not self.runtime.measure and self.runtime.load is None:
            said = (self.folder / "golden" / "runtime.txt").read_text(encoding="utf-8")
            return {"version": found[0] if (found := re.findall(r"\d+(?:\.\d+)+", said)) else ""}
        if self.runtime.measure:
            out = run(self.words(self.runtime.measure, self.folder / "golden"))
        else:
            plain = self.converted(Path(self.plain)) if self.plain else ""
            out = self.drive("measure", self.converted(self.source(0)), plain, self.folder / "golden")
        timed: dict[str, float | str | None] = json.loads(out.strip().splitlines()[-1])
        return timed


def measured_row(module: str, runtime: Runtime, stage: Stage, folder: Path, environments: Path) -> Row:
    """Run everything of one runtime."""
    row = Row(name=runtime.name, file="a member" if runtime.member else runtime.file, remark=runtime.remark)
    load = f"load {os.getloadavg()[0]:.1f}"
    row = replace(row, measured=f"{datetime.datetime.now(datetime.UTC).date().isoformat()}, {load}")
    if runtime.not_run:
        return replace(row, failure=runtime.not_run, measured="")
    try:
        attempt = Attempt(module, runtime, stage, folder, python_of(runtime, environments))
        for command in runtime.prepare:
            run(attempt.words(command))
        if runtime.conversion:
            return replace(row, failure=runtime.conversion, version=version(runtime.version_of))
        golden = golden_folder(stage, folder / "golden")
        attempt.predict(golden, (*range(MEMBERS), -1, MEMBERS), range(MEMBERS))
        error = largest_error(stage, golden)
        row = replace(row, error=error, wrong=not error <= LIMIT)
        strange = strange_folder(stage, folder / "strange")
        attempt.predict(strange, (0, *UNKNOWN), range(1))
        ids = "it takes none" if runtime.member else of_unknown_ids(stage, strange)
        row = replace(row, ids=ids, nan=of_nan_image(strange))
        return replace(row, **attempt.measure())  # type: ignore[arg-type]
    except NotRunError as error:
        return replace(row, failure=_in_a_cell(error))
    except (FailedError, HnexportError, OSError, ValueError, LookupError) as error:
        return replace(row, failure=f"failed: {_in_a_cell(error)}", wrong=True)


def _in_a_cell(error: Exception) -> str:
    return str(error).replace("\n", " ").replace("|", "/")[:200]
