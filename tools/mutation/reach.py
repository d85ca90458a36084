"""Which tests reach which line, and how long each takes: one run with coverage and a context for each test."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from xml.etree import ElementTree

from coverage import CoverageData

_DATA, _REPORT = "coverage", "junit.xml"


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What one run of the tests found.

    Attributes:
        data: coverage's data, with a context for each test.
        seconds: what each test took.
    """

    data: CoverageData
    seconds: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `measure` left in a folder."""
        data = CoverageData(basename=str(folder / _DATA))
        data.read()
        seconds = {}
        # our own file, written by the run before
        for case in ElementTree.parse(folder / _REPORT).iter("testcase"):  # noqa: S314
            seconds[f"{case.get('file')}::{case.get('name')}"] = float(case.get("time") or 0)
        return cls(data=data, seconds=seconds)

    def tests(self, path: Path, lines: range) -> list[str]:
        """Tests that run any of the lines, the quickest first; of lines that run at import time, those of the file."""
        by_line = self.data.contexts_by_lineno(str(path))
        found = {context for line in lines for context in by_line.get(line, ())}
        if "" in found:
            found = {context for contexts in by_line.values() for context in contexts}
        tests = {context.rsplit("|", 1)[0] for context in found if context} & self.seconds.keys()
        return sorted(tests, key=lambda test: (self.seconds[test], test))


def measure(root: Path, tests: Sequence[str], folder: Path) -> Reach:
    """Run tests with coverage, by `pytest-cov`."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile", "--cov=hnexport"]
    command += ["--cov-branch", "--cov-context=test", "--cov-report=", f"--junit-xml={(folder / _REPORT).resolve()}"]
    command += ["-o", "junit_family=xunit1", *tests]
    environment = os.environ | {"COVERAGE_FILE": str((folder / _DATA).resolve())}
    code = subprocess.run(command, cwd=root, env=environment, check=False).returncode
    if code != 0:
        sys.exit(f"the tests fail without any change (pytest's exit code is {code}): mend them first")
    return Reach.read(folder)
