"""Load a small bundle in every runtime that this machine can run, and write the table of docs/runtimes.md.

python tools/runtimes_table.py [--only NAME]... [--list]

`make runtimes` runs it. Each runtime is a module of tools/runtimes, by whose name `--only` knows it; what is built lies
in build/runtimes. Exit code 1: a runtime that is here failed, or was wrong by more than 1e-5.
"""

import argparse
import importlib
import sys
from pathlib import Path

from runtimes import known
from runtimes.commands import ROOT
from runtimes.measured import measured_row
from runtimes.page import line, write
from runtimes.runtime import Runtime
from runtimes.stage import staged

PAGE = ROOT / "docs" / "runtimes.md"


def main() -> int:
    """Print and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", choices=known.NAMES, metavar="NAME", help="may be repeated")
    parser.add_argument("--list", action="store_true", help="the names")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "runtimes", help="where everything is built")
    given = parser.parse_args()
    if given.list:
        print("\n".join(known.NAMES))
        return 0
    build: Path = given.build.resolve()
    runtimes: dict[str, Runtime] = {name: importlib.import_module(f"runtimes.{name}").RUNTIME for name in known.NAMES}
    stage = staged(build / "files")
    rows = []
    for name in given.only or known.NAMES:
        row = measured_row(name, runtimes[name], stage, build / "work" / name, build / "environments")
        print(line(row), flush=True)
        rows.append(row)
        write(PAGE, [row], [runtime.name for runtime in runtimes.values()])
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
