"""Try one mutant with the tests that reach it."""

import enum
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation.reach import Reach
from mutation.sample import Mutant

_START_SECONDS = 60.0  # of a test process on a busy machine, beside its tests


class Outcome(enum.Enum):
    """What became of a mutant."""

    FAILED = "noticed"
    TIMED_OUT = "timed out"
    SURVIVED = "not noticed"
    UNREACHED = "unreached"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A mutant and what became of it.

    Attributes:
        reaching: how many tests reach its line.
        ran: how many of those were run, at most; the first that fails ends it.
    """

    mutant: Mutant
    outcome: Outcome
    reaching: int
    ran: int

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        mutant = self.mutant
        return {
            "package": mutant.package,
            "place": mutant.place,
            "operator": mutant.operator,
            "outcome": self.outcome.value,
            "reaching": self.reaching,
            "ran": self.ran,
            "difference": mutant.difference,
        }


def tried(mutant: Mutant, reach: Reach, copy: Path, *, seconds: float) -> Trial:
    """Run the tests that reach a mutant, the quickest first, for about so many seconds, until one fails.

    Args:
        mutant: what to try.
        reach: who reaches what.
        copy: a copy of the checkout; the module is changed there, and changed back.
        seconds: of tests, by the times of the run that measured who reaches what; one test runs in any case.

    Raises:
        RuntimeError: tests of that run are no more.
    """
    tests = reach.tests(Path(__file__).parents[2] / mutant.path, mutant.lines)
    sums = itertools.accumulate(reach.seconds[test] for test in tests)
    chosen = [test for test, total in zip(tests, sums, strict=True) if total <= seconds] or tests[:1]
    if not tests:
        return Trial(mutant=mutant, outcome=Outcome.UNREACHED, reaching=0, ran=0)
    path = copy / mutant.path
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.text, encoding="utf-8")
    try:
        outcome = _run(chosen, copy, _START_SECONDS + 5 * sum(reach.seconds[test] for test in chosen))
    finally:
        path.write_text(before, encoding="utf-8")
    return Trial(mutant=mutant, outcome=outcome, reaching=len(tests), ran=len(chosen))


def _run(tests: list[str], copy: Path, limit: float) -> Outcome:
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as arguments:
        arguments.write("\n".join(tests))
        arguments.flush()
        command = [sys.executable, "-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", f"@{arguments.name}"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        )
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Outcome.TIMED_OUT
    if code == 4:  # pytest's own: a test that is no more
        raise RuntimeError(f"pytest found no test of {tests}: measure who reaches what again, without --again")
    return Outcome.SURVIVED if code == 0 else Outcome.FAILED
