"""Running a runtime's commands, with one thread."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

TOOLS = Path(__file__).parents[1]
ROOT = TOOLS.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LIMIT_S = 1200


class NotRunError(Exception):
    """Why a runtime is not run on this machine."""


class FailedError(NotRunError):
    """A command ended with an error: its last line."""


def run(command: list[str], variables: Mapping[str, str] | None = None, *, limit_s: float = LIMIT_S) -> str:
    """A command's standard output.

    Raises:
        FailedError: it ended with an error, or took too long.
    """
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(TOOLS), **(variables or {})}
    try:
        done = bounded(command, environment, limit_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedError(f"failed: {error}") from error
    if done.returncode != 0:
        said = last_line(done.stderr) or last_line(done.stdout) or f"exit code {done.returncode}"
        raise FailedError(f"failed: {said}")
    return done.stdout


def bounded(command: list[str], environment: Mapping[str, str], limit_s: float) -> "subprocess.CompletedProcess[str]":
    """Run a command in a group of processes that ends as a whole.

    Raises:
        OSError: it cannot be started.
        TimeoutExpired: it took too long.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=TOOLS, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            out, said = process.communicate(timeout=limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, said)


def last_line(text: str) -> str:
    """The line of a program's output that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    said = [line for line in lines if "error:" in line.lower()] or lines
    return said[-1][:160].replace("|", "/") if said else ""
