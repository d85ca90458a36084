"""An environment for each runtime's packages, made once and kept."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from runtimes.commands import ROOT, FailedError, NotRunError, last_line
from runtimes.runtime import Runtime

NOWHERE = "No matching distribution found"
RUNTIME_ALONE = "hnexport-runtime"
WHEEL_SOURCES = (ROOT / "hnexport", ROOT / "tools" / "packaging" / "runtime")
CONSTRAINTS = (ROOT / "constraints.txt", Path(__file__).with_name("constraints.txt"))


def python_of(runtime: Runtime, environments: Path) -> Path:
    """The Python that has the runtime's packages: this one, or one of an environment that is made now.

    Raises:
        NotRunError: they cannot be had, or a program is missing.
        FailedError: they contradict each other.
    """
    missing = [tool for tool in runtime.tools if shutil.which(tool) is None]
    if missing:
        raise NotRunError(f"not run: no {' and no '.join(missing)} here")
    if not runtime.packages:
        return Path(sys.executable)
    folder = environments / runtime.packages[-1].split("[")[0].split("=")[0]
    python, complete = folder / "bin" / "python", folder / "installed.txt"
    own = any(package.startswith(RUNTIME_ALONE) for package in runtime.packages)
    wanted = "\n".join([*runtime.packages, *([digest()] if own else []), *(path.read_text() for path in CONSTRAINTS)])
    if complete.exists() and complete.read_text(encoding="utf-8") == wanted:
        return python
    complete.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    with tempfile.TemporaryDirectory() as wheels:
        wheel = built_wheel(Path(wheels)) if own else ""
        packages = [package.replace(RUNTIME_ALONE, wheel) for package in runtime.packages]
        install(python, runtime, *packages)
        if own:  # of the same version as one that is there, and yet another
            install(python, runtime, "--force-reinstall", "--no-deps", wheel)
    complete.write_text(wanted, encoding="utf-8", newline="\n")
    return python


def install(python: Path, runtime: Runtime, *words: str) -> None:
    """Install with pip.

    Raises:
        NotRunError: no index has them, or none is reached.
        FailedError: pip refuses; its words.
    """
    files = CONSTRAINTS if runtime.constrained else CONSTRAINTS[1:]
    constraints = [word for path in files for word in ("--constraint", str(path))]
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", *constraints, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = f"pip cannot install {' '.join(runtime.packages)}: {last_line(done.stderr).split(': for help')[0]}"
        raise NotRunError(f"not run: {said}") if NOWHERE in done.stderr else FailedError(f"failed: {said}")


def built_wheel(folder: Path) -> str:
    """hnexport-runtime of this clone."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(WHEEL_SOURCES[-1])], check=True)
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


def digest() -> str:
    """Of everything that the wheel is made of."""
    made = hashlib.sha256()
    for path in sorted(path for source in WHEEL_SOURCES for path in source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path):
            made.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()
