"""Progress bars on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hnexport.cli.output import tell
from hnexport.text import clean, degrade

if TYPE_CHECKING:
    from hnexport.progress import Progress as ProgressCallback

__all__ = ["live_progress"]

STAGES = {
    "capture": "capture (torch.export)",
    "onnx": "write ONNX",
    "torchscript": "write TorchScript",
    "pt2": "write .pt2",
    "reference": "float64 reference",
    "rounding": "effect of rounding",
}
_NARROW = 70  # below, a line has no room for a bar


@contextmanager
def live_progress(*, quiet: bool) -> "Iterator[ProgressCallback]":
    """Progress on standard error: a bar for each stage, or, where that is no terminal, a line once it is done."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not quiet and not console.is_terminal:
        yield _line_by_line()
        return
    steps, clock = TextColumn("{task.fields[steps]:>7}", markup=False), TimeElapsedColumn()
    name = TextColumn("{task.description:<26}", markup=False)
    columns = (name, steps, clock) if console.width < _NARROW else (name, BarColumn(30), steps, clock)
    with Progress(*columns, console=console, disable=quiet) as bars:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage == "verify":
                return
            steps = f"{done}/{total}" if total > 1 else ""
            if stage not in tasks:
                title = degrade(clean(STAGES.get(stage, stage)), sys.stderr.encoding)
                tasks[stage] = bars.add_task(title, total=total, steps=steps)
            if total == 1 and bars.tasks[tasks[stage]].total != 1:
                return  # the end of a stage that counted its own steps
            bars.update(tasks[stage], completed=done, total=total, steps=steps)

        yield update


def _line_by_line() -> "ProgressCallback":
    began: dict[str, float] = {}
    ended: set[str] = set()

    def update(stage: str, done: int, total: int) -> None:
        start = began.setdefault(stage, time.monotonic())
        if stage != "verify" and stage not in ended and done == total:
            ended.add(stage)
            counted = f" {total}/{total}" if total > 1 else ""
            tell(f"{STAGES.get(stage, stage)}:{counted} {time.monotonic() - start:.1f} s")

    return update
