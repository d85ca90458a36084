"""Seeds for what must hold with any: two in every run, a few in `make test-all`, and the others in `make fuzz`."""

import os

import pytest

__all__ = ["seeds"]


def seeds(few: int, many: int) -> list:
    """Parameters: 0 and 1 of every run, those up to `few` of the matrix; with HNEXPORT_FUZZ=1 up to `many`."""
    count = many if os.environ.get("HNEXPORT_FUZZ") == "1" else few
    return [pytest.param(seed, marks=_marks(seed, few)) for seed in range(count)]


def _marks(seed: int, few: int) -> list[pytest.MarkDecorator]:
    if seed < min(few, 2):
        return []
    return [pytest.mark.thorough if seed < few else pytest.mark.fuzz]
