"""Commands of a runtime: its environment, and running them with one thread."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runtimes.runtime import Runtime

TOOLS = Path(__file__).parents[1]
ROOT = TOOLS.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LIMIT_S = 1200


class NotRunError(Exception):
    """Why a runtime is not run on this machine."""


def python_of(runtime: Runtime, environments: Path) -> Path:
    """The Python that has the runtime's packages: this one, or one of an environment that is made now.

    Raises:
        NotRunError: they cannot be installed, or a program is missing.
    """
    missing = [tool for tool in runtime.tools if shutil.which(tool) is None]
    if missing:
        raise NotRunError(f"not run: no {' and no '.join(missing)} here")
    if not runtime.packages:
        return Path(sys.executable)
    folder = environments / "-".join(runtime.packages[-1:]).split("[")[0].split("=")[0]
    python, complete = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(runtime.packages)
    if not complete.exists() or complete.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", *runtime.packages]
        done = subprocess.run([str(word) for word in pip], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotRunError(f"not run: pip cannot install {' '.join(runtime.packages)}: {_last(done.stderr)}")
        complete.write_text(wanted, encoding="utf-8")
    return python


def run(command: list[str], limit_s: float = LIMIT_S) -> str:
    """A command's standard output.

    Raises:
        NotRunError: it ended with an error; its last line.
    """
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(TOOLS)}
    try:
        done = bounded(command, environment, limit_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRunError(f"failed: {error}") from error
    if done.returncode != 0:
        raise NotRunError(f"failed: {_last(done.stderr) or _last(done.stdout) or f'exit code {done.returncode}'}")
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


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    said = [line for line in lines if "error:" in line.lower()] or lines
    return said[-1][:160].replace("|", "/") if said else ""
