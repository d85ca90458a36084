"""Coverage by package, as a table: `make coverage` runs the tests and prints it.

python tools/coverage_table.py [--data FILE] [--page FILE]

Lines and branches are counted in the processes that pytest starts. Commands of tests that run in processes of their own
are not, so that what only they reach counts as missing.
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START, END = "<!-- coverage -->", "<!-- end of coverage -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".coverage", help="what coverage wrote")
    parser.add_argument("--page", type=Path, help="a page with the two markers that the table stands between")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", "--data-file", str(given.data), "-o", str(found)]
        subprocess.run(command, check=True, cwd=ROOT)
        rows = list(table(json.loads(found.read_text(encoding="utf-8"))))
    print(*rows, sep="\n")
    if given.page:
        text = given.page.read_text(encoding="utf-8")
        if text.count(START) != 1 or text.count(END) != 1:
            sys.exit(f"{given.page} needs {START} and {END} where the table belongs")
        before, after = text.split(START)[0], text.split(END)[1]
        given.page.write_text("\n".join([before + START, *rows, END + after]), encoding="utf-8")
    return 0


def table(report: Mapping[str, Any]) -> Iterator[str]:
    """Rows in Markdown, a package each, of what `coverage json` says."""
    packages: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name, file in report["files"].items():
        parts = Path(name).parts
        package = ".".join(parts[:2]) if len(parts) > 2 else parts[0]
        for key in ("num_statements", "covered_lines", "num_branches", "covered_branches"):
            packages[package][key] += file["summary"][key]
            packages["all"][key] += file["summary"][key]
    yield "| package | statements | lines | branches |"
    yield "| --- | --- | --- | --- |"
    for package in sorted(packages, key=lambda name: (name == "all", name)):
        counted = packages[package]
        lines = _share(counted["covered_lines"], counted["num_statements"])
        branches = _share(counted["covered_branches"], counted["num_branches"])
        name = package if package == "all" else f"`{package}`"
        yield f"| {name} | {counted['num_statements']:,} | {lines} | {branches} |"


def _share(covered: int, everything: int) -> str:
    return f"{covered / everything:.1%}" if everything else "none"


if __name__ == "__main__":
    sys.exit(main())
