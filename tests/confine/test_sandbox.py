"""What libraries may do while a process that hides its files imports them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hnexport.confine.limits import missing_for_confinement

CODE = """
from hnexport.confine.sandbox import ConfinementError, hide_files
try:
    hide_files()
except ConfinementError as error:
    print(error)
    raise SystemExit(77)
import ctypes.util
assert ctypes.util.find_library("dl") is None
"""


def test_a_library_that_looks_for_another_falls_back_on_its_name(tmp_path: Path) -> None:
    """As cuda.pathfinder does, which PyTorch for CUDA imports; with a compiler, Python writes a temporary file."""
    if missing_for_confinement() is not None:
        pytest.skip("no confinement here")
    (tmp_path / "gcc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "gcc").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
