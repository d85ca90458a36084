"""Run the command as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def hnexport(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `hnexport ARGS` in a process of its own, in an empty folder."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hnexport", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "120"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300, **options
        )

    return run
