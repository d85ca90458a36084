"""Run the command as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from schema_checks import check_printed
from zygote import Done


@pytest.fixture
def hnexport(zygote, tmp_path) -> Callable[..., Done | subprocess.CompletedProcess[str]]:
    """Run `hnexport ARGS` in a process of its own, in an empty folder.

    A `fresh` one, and one with options of `subprocess`, is a new interpreter; otherwise it is forked, see `zygote`, and
    JSON that it prints is held against its schema.
    """

    def run(*arguments: object, fresh: bool = False, **options) -> Done | subprocess.CompletedProcess[str]:
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
