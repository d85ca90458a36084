"""Types the blocks of a page, as a reader would: `python` in one session, `sh` in a shell, all in one folder.

Run as a program it needs nothing but the standard library, so that it runs in whatever environment hnexport was
installed into: `python typed.py BLOCKS.json OUTPUTS.json`, in the folder in which the page is typed.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Typed = tuple[str, str, str]
"""Language, code, and where it stands, which tracebacks say."""


def type_blocks(blocks: Iterable[Typed], shell: Callable[[str], str]) -> list[str]:
    """Run blocks in their order, the Python ones in one namespace; what each of them printed to standard output."""
    session: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for language, code, place in blocks:
        if language == "sh":
            printed.append(shell(code))
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, place, "exec"), session)  # noqa: S102  # the page's own code is what is tried
        printed.append(out.getvalue())
    return printed


def in_bash(code: str) -> str:
    """Run a block in bash, with the commands of this environment; ends at the first that fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "COLUMNS": "110"}
    command = ["bash", "-euc", code]  # a pipe ends as its last command does: `| head` may end the first
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Type the blocks of the first file, write what they printed to the second."""
    blocks, outputs = map(Path, sys.argv[1:])
    sys.path.insert(0, os.getcwd())  # as in a session that a reader starts here
    printed = type_blocks(json.loads(blocks.read_text(encoding="utf-8")), in_bash)
    outputs.write_text(json.dumps(printed), encoding="utf-8")


if __name__ == "__main__":
    main()
