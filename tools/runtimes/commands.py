"""Running a runtime's commands, with one thread."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

TOOLS = Path(__file__).parents[1]
ROOT = TOOLS.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LIMIT_S = 1200


class FailedError(Exception):
    """A command ended with an error: its last line."""


def run(command: list[str], variables: Mapping[str, str] | None = None) -> str:
    """A command's standard output.

    Raises:
        FailedError: it ended with an error.
    """
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(TOOLS), **(variables or {})}
    try:
        done = subprocess.run(
            command, cwd=TOOLS, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedError(f"failed: {error}") from error
    if done.returncode != 0:
        said = last_line(done.stderr) or last_line(done.stdout) or f"exit code {done.returncode}"
        raise FailedError(f"failed: {said}")
    return done.stdout


def last_line(text: str) -> str:
    """The line of a program's output that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    said = [line for line in lines if "error:" in line.lower()] or lines
    return said[-1][:160].replace("|", "/") if said else ""
