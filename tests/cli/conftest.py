"""Run the command as a user does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixture_types import Hnexport
from schema_checks import check_printed
from zygote import Done, Zygote


@pytest.fixture
def hnexport(zygote: Zygote, tmp_path: Path) -> Hnexport:
    """Run `hnexport ARGS` in a process of its own, in an empty folder.

    A `fresh` one, and one with options of `subprocess`, is a new interpreter; otherwise it is forked, see `zygote`, and
    JSON that it prints is held against its schema.
    """

    def run(*arguments: object, fresh: bool = False, **options: Any) -> "Done | subprocess.CompletedProcess[str]":
        environment = {**os.environ, "COLUMNS": "120", **options.pop("env", {})}
        if not fresh and not options:
            done = zygote.run(arguments, cwd=tmp_path, env=environment)
            if done.returncode in (0, 1):
                check_printed(arguments, done.stdout)
            return done
        command = [sys.executable, "-m", "hnexport", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300, **options
        )

    return run
