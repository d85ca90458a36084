"""What whoever scores can choose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hnexport.runtime import Until
from hnexport.runtime.validation import require_count

__all__ = ["PART_ROWS", "ScoreOptions"]

PART_ROWS = 512
"""Rows of a part: at most so many are scored again after a crash."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How to score.

    Attributes:
        members: those that are asked; None asks all.
        until: as `LoadedEnsemble.predict_mean` takes it.
        provider, engine, precision, digest: as `hnexport.runtime.load` takes them.
        strategy: likewise; None takes that of parts that are there, else "auto". Actors of Ray then materialise on the
            CPU, and generate on a GPU.
        threads: compute threads; None takes what this process may use.
        pictures: what `hnexport.images.read_images` is told of pictures; without a normalisation, that of the bundle.
        class_names: by output of logits, in the order of the classes; outputs that are not named take the bundle's.
        identifier: the column of a table with what a row is called; None takes `id` where there is one, else numbers.
        member_outputs: also write what each member says.
        part_rows: rows of a part.

    Raises:
        RuntimeInputError: `part_rows` is no whole number above 0.
    """

    members: tuple[int, ...] | None = None
    until: Until | str | float | None = None
    provider: str = "auto"
    engine: str = "onnxruntime"
    precision: str = "float32"
    strategy: str | None = None
    digest: str | None = None
    threads: int | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    identifier: str | None = None
    member_outputs: bool = False
    part_rows: int = PART_ROWS

    def __post_init__(self) -> None:
        require_count("part_rows", self.part_rows)
