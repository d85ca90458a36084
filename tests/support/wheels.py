"""The two distributions as wheels, and a virtual environment to install them into."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

EPOCH = "1700000000"
"""SOURCE_DATE_EPOCH, by which what is built is equal byte for byte."""


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """The wheels as they are published."""

    runtime: Path
    hnexport: Path


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment."""

    folder: Path

    def run(self, *command: object, ok: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program of it, outside the clone."""
        kept = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LANG", "PIP_CONFIG_FILE", "PIP_INDEX_URL")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        program = self.folder / "bin" / str(command[0])
        done = subprocess.run(
            [program, *map(str, command[1:])],
            cwd=self.folder,
            env={**environment, "COLUMNS": "120", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    def pip(self, *arguments: object, ok: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run its pip."""
        return self.run("python", "-m", "pip", "--disable-pip-version-check", *arguments, ok=ok)
