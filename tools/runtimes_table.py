"""Load a small bundle in every runtime that this machine can run, and write the tables of docs/runtimes/index.md.

python tools/runtimes_table.py [--only NAME]... [--list]

`make runtimes` runs it. Each runtime is a module of tools/runtimes, by whose name `--only` knows it; what is built lies
in build/runtimes, where environments are kept for the next time. Exit code 1: a runtime failed, as its row says, or was
wrong by more than 1e-5; the other rows are written all the same. 2: there is no runtime of this name.
"""

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from runtimes import known

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/runtimes/index.md"


def main() -> int:
    """Print and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--list", action="store_true", help="the names")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "runtimes", help="where everything is built")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the tables are")
    given = parser.parse_args()
    if given.list:
        print("\n".join(known.NAMES))
        return 0
    unknown = [name for name in given.only or () if name not in known.NAMES]
    if unknown:
        print(f"there is no runtime {', '.join(unknown)}; there are: {', '.join(known.NAMES)}", file=sys.stderr)
        return 2
    return rows(given.only or list(known.NAMES), given.build.resolve(), given.page)


def rows(names: list[str], build: Path, page: Path) -> int:
    """Run, print and write each."""
    from runtimes.judge import LIMIT
    from runtimes.measured import measured_row
    from runtimes.page import RUNTIMES, write
    from runtimes.runtime import Runtime
    from runtimes.stage import staged

    runtimes: dict[str, Runtime] = {name: importlib.import_module(f"runtimes.{name}").RUNTIME for name in known.NAMES}
    order = [runtime.name for runtime in runtimes.values()]
    start = time.monotonic()
    stage = staged(build / "files")
    print(
        f"the bundle and its members: {time.monotonic() - start:.0f} s, {processor_s():.0f} s of processor", flush=True
    )
    wrong = []
    for name in names:
        begun, used = time.monotonic(), processor_s()
        row = measured_row(name, runtimes[name], stage, build / "work" / name, build / "environments")
        taken = f"{time.monotonic() - begun:.0f} s, {processor_s() - used:.0f} s of processor"
        print(f"{RUNTIMES.line(row)} {taken}", flush=True)
        write(page, row, order)
        if row.failed or (row.error is not None and not row.error <= LIMIT):
            wrong.append(name)
    print(f"{time.monotonic() - start:.0f} s" + (f"; wrong: {', '.join(wrong)}" if wrong else ""))
    return 1 if wrong else 0


def processor_s() -> float:
    """What this process and those that it started have used."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    sys.exit(main())
