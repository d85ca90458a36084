"""What the tests of scoring share: how many rows there are, which is damaged, and how they are scored."""

from os import PathLike
from typing import Protocol

from hnexport.progress import Progress, no_progress
from hnexport.score import RayWorkers, Scored, ScoreOptions

ROWS, PART_ROWS, DAMAGED = 70, 16, 37
NAMES = ("cat", "dog", "fox", "owl", "yak", "cow", "pig", "hen", "rat", "bee")
OPTIONS = ScoreOptions(provider="cpu", threads=1, part_rows=PART_ROWS)


class ScoreBundle(Protocol):
    """`score` of one bundle, with `OPTIONS` unless the call has others."""

    def __call__(
        self,
        data: str | PathLike[str],
        out: str | PathLike[str],
        *,
        options: ScoreOptions = OPTIONS,
        workers: RayWorkers | None = None,
        progress: Progress = no_progress,
    ) -> Scored: ...
