"""Commands of a runtime: its environment, and running them with one thread."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from runtimes.runtime import Runtime

TOOLS = Path(__file__).parents[1]
ROOT = TOOLS.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LIMIT_S = 1200


class NotRunError(Exception):
    """Why a runtime is not run on this machine."""


class FailedError(Exception):
    """Why a runtime that is there could not run the bundle."""


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


def run(command: list[str]) -> str:
    """A command's standard output.

    Raises:
        FailedError: it ended with an error; its last line.
    """
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(TOOLS)}
    try:
        done = subprocess.run(
            command, cwd=TOOLS, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedError(str(error)) from error
    if done.returncode != 0:
        raise FailedError(_last(done.stderr) or _last(done.stdout) or f"exit code {done.returncode}")
    return done.stdout


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    said = [line for line in lines if "error:" in line.lower()] or lines
    return said[-1][:160].replace("|", "/") if said else ""
