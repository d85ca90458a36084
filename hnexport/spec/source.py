"""How an ensemble came about, as data. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EnsembleSource"]


@dataclass(frozen=True, kw_only=True)
class EnsembleSource:
    """How an ensemble came about, as data: enough for its family to make it again from its stored tensors.

    Attributes:
        family: its name in `hnexport.families`.
        spec: JSON values that the family understands.
    """

    family: str
    spec: Mapping[str, Any] = field(default_factory=dict)
