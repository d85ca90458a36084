"""Do our tests notice when our own code is wrong? A sample of small changes (mutants) of some packages, each tried.

python tools/mutants.py hnexport/parity hnexport/runtime --tests tests/parity tests/runtime --sample 60

cosmic-ray makes the changes: another operator, another number, `not`, `break` for `continue`, a loop without rounds, …
One run of the tests with coverage says which tests reach which line; a mutant is tried with those that reach its line,
quick ones first, until one fails. What no test notices is printed as a difference: either a test is missing, or the
change changes nothing. Sources are changed in a copy of the checkout.
"""

import argparse
import collections
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mutation.reach import Reach, measure
from mutation.sample import sampled
from mutation.trial import Outcome, Trial, tried

ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample, try, print; 0 if every mutant was tried, whatever became of it."""
    given = _parser().parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    reach = Reach.read(given.folder) if given.again else measure(ROOT, given.tests, given.folder)
    trials = []
    with tempfile.TemporaryDirectory(prefix="hnexport-mutants-") as copy:
        _copy_checkout(Path(copy))
        for package in given.packages:
            mutants = sampled(ROOT, package, given.sample, given.seed)
            for number, mutant in enumerate(mutants, start=1):
                trial = tried(mutant, reach, Path(copy), seconds=given.seconds)
                trials.append(trial)
                print(f"{number}/{len(mutants)} {trial.outcome.value:11} {mutant.place}: {mutant.operator}", flush=True)
                _write(given.folder / "mutants.json", trials)
    print(*_table(trials), sep="\n")
    for trial in trials:
        if trial.outcome in (Outcome.SURVIVED, Outcome.UNREACHED):
            print(f"\n{trial.outcome.value}; of {trial.reaching} tests that reach it {trial.ran} ran")
            print(trial.mutant.difference)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", type=Path, help="folders or modules, from the checkout's root")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="tests that are to notice")
    parser.add_argument("--sample", type=int, default=50, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same places in the same sources")
    parser.add_argument("--seconds", type=float, default=60, help="of tests for one mutant, as the first run took")
    parser.add_argument("--again", action="store_true", help="take who reaches what from the last run")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/mutants", help="where results are kept")
    return parser


def _copy_checkout(copy: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def _write(path: Path, trials: Sequence[Trial]) -> None:
    path.write_text(json.dumps([trial.as_json() for trial in trials], indent=1) + "\n", encoding="utf-8")


def _table(trials: Sequence[Trial]) -> list[str]:
    """A row a package: how many were noticed."""
    rows = ["| package | mutants | noticed | not noticed | reached by no test |", "| --- | --- | --- | --- | --- |"]
    packages = dict.fromkeys(trial.mutant.package for trial in trials)
    for package in packages:
        found = collections.Counter(trial.outcome for trial in trials if trial.mutant.package == package)
        noticed = found[Outcome.FAILED] + found[Outcome.TIMED_OUT]
        rows.append(
            f"| `{package}` | {found.total()} | {noticed} ({noticed / found.total():.0%}) "
            f"| {found[Outcome.SURVIVED]} | {found[Outcome.UNREACHED]} |"
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
