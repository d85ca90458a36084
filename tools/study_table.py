"""Train ensembles of ten on most of the digits, ask them about the rest, write the tables of docs/explanation/study.md.

python tools/study_table.py [--build FOLDER] [--page FILE] [--out FILE.json] [--task NAME]... [--again]

`make study` runs it, in about ten minutes on two quiet cores. Folds lie in build/study and are not made again, so that
an interrupted run goes on where it ended; `--again` forgets them. Exit code 1: the digits do not keep what the first
table asks of them; the tables are written all the same.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from digits_table import ROOT, markdown, write
from rich.console import Console
from rich.table import Table as Grid
from study.answers import FLOAT32, Settings, answers, bundle_of
from study.bootstrap import Bootstrap
from study.prices import INT8_ROW, measured_of_page, own_prices
from study.stops import Rule, stopped
from study.tables import Found, Table, asked, comparison, own_price, stopping, verdicts
from study.tasks import TASKS, Task, folds
from study.worth import Judged, compared

from hnexport.machine.processor import processor_name
from hnexport.records import to_json

BEGIN, END = "<!-- study: written by make study -->", "<!-- study: end of what make study wrote -->"
LOSSES = (0.005, 0.01, 0.02)
WITH_BASES = "digits"  # the task that tries rounded bases too: each takes a bundle of its own


def main(arguments: list[str] | None = None) -> int:
    """Make the folds that are not there, judge, print, write."""
    given = _parser().parse_args(arguments)
    prices = dict(given.price) if given.price else measured_of_page(ROOT / "docs/explanation/int8.md")
    if given.again:
        shutil.rmtree(given.build, ignore_errors=True)
    os.environ["XDG_CACHE_HOME"] = str(given.build.resolve() / "cache")  # the user's own stays as it is
    results = [study(name, given) for name in given.task or TASKS]
    tables = [table for found in results for table in _tables(found, prices)]
    console = Console(width=max(Console().width, 150))
    for table in tables:
        console.print(_grid(table))
    text = head(given, prices)
    print(text)
    if given.page is not None:
        write(given.page, "\n\n".join([text, *map(_on_page, tables)]), BEGIN, END)
    if given.out is not None:
        found = {"settings": text, "prices": prices, "tasks": to_json(results)}
        given.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8", newline="\n")
    return 1 if any(not one.kept for found in results if found.task == "digits" for one in asked(found, prices)) else 0


def study(name: str, given: argparse.Namespace) -> Found:
    """One task: its folds, and what they are worth together."""
    task = TASKS[name](given.seed)
    if given.images is not None:
        task = Task(images=task.images[: given.images], labels=task.labels[: given.images])
    settings = Settings(
        members=given.members, epochs=given.epochs, seed=given.seed, bases=name == WITH_BASES and not given.no_bases
    )
    parts = list(folds(task.labels, given.folds, given.choosing, given.seed))
    folders = [given.build / name / f"fold-{number}" for number in range(len(parts))]
    made = [
        answers(task, fold, settings, folder, lambda step, folder=folder: _say(f"{name}, {folder.name}: {step}"))
        for fold, folder in zip(parts, folders, strict=True)
    ]
    judged = Judged(task=task, folds=parts, answers=made, folders=folders)
    bootstrap = Bootstrap(rows=len(judged.labels), draws=given.draws, seed=given.seed)
    losses = given.loss or LOSSES
    rules = [*(Rule(drop=drop, rise=given.rise) for drop in losses), Rule(answer="mean"), Rule(answer="votes"), Rule()]
    rules += [Rule(kind=FLOAT32, drop=losses[0], rise=given.rise), Rule(kind=FLOAT32, first=1)]
    found = stopped(judged, rules, bootstrap, lambda step: _say(f"{name}, {step}"))
    _say(f"{name}: times of calls")
    first = found[0].chosen[0]
    own = own_prices(bundle_of(folders[0]), task.images[parts[0].report], first.order, first.until)
    return Found(
        task=name,
        images=len(judged.labels),
        compared=tuple(compared(judged, bootstrap)),
        stopped=tuple(found),
        own=tuple(own),
    )


def head(given: argparse.Namespace, prices: Mapping[str, float]) -> str:
    """What was done, when, where."""
    import onnxruntime
    import torch

    told = ", ".join(f"{ratio:g} at batch {size}" for size, ratio in prices.items())
    source = "as said" if given.price else f"the row “{INT8_ROW}” of docs/explanation/int8.md"
    text = (
        f"{time.strftime('%Y-%m-%d')}: {given.folds} parts of the images, {given.choosing} of which choose the "
        f"threshold for the one that is reported, the rest trains {given.members} members for {given.epochs} epochs; "
        f"intervals hold 95 % of {given.draws:,} draws of the images; seed {given.seed}. PyTorch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}, {processor_name()}. An int8 "
        f"member of WRN-28-10 is reckoned as {told} of the plain float32 network ({source})."
    )
    return textwrap.fill(text, width=120, break_long_words=False, break_on_hyphens=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "study", help="where everything is built")
    parser.add_argument("--page", type=Path, help="write the tables between the markers of this page")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything that was found as JSON")
    parser.add_argument("--task", action="append", choices=TASKS, help="may be repeated; all")
    parser.add_argument("--again", action="store_true", help="make everything again")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="parts of the images")
    parser.add_argument("--choosing", type=int, default=2, metavar="N", help="parts that choose the threshold")
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, help="only the first of them")
    parser.add_argument("--no-bases", action="store_true", help="leave out bundles with rounded bases")
    parser.add_argument("--draws", type=int, default=10_000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--loss",
        action="append",
        type=float,
        help="of accuracy, stated where a threshold is chosen; the first is judged",
    )
    parser.add_argument("--rise", type=float, default=0.01, help="of the calibration error, stated with each loss")
    parser.add_argument(
        "--price",
        action="append",
        type=_priced,
        metavar="BATCH=RATIO",
        help="time of an int8 member over the plain network's, may be repeated; what docs/explanation/int8.md says",
    )
    return parser


def _priced(text: str) -> tuple[str, float]:
    size, _, ratio = text.partition("=")
    return str(int(size)), float(ratio)


def _tables(found: Found, prices: Mapping[str, float]) -> list[Table]:
    return [verdicts(found, prices), comparison(found), stopping(found, prices), own_price(found)]


def _grid(table: Table) -> Grid:
    grid = Grid(*table.columns, title=table.title)
    for row in table.rows:
        grid.add_row(*row)
    return grid


def _on_page(table: Table) -> str:
    return f"{table.title[0].upper()}{table.title[1:]}:\n\n{markdown(list(table.columns), list(map(list, table.rows)))}"


def _say(step: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
