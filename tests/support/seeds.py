"""Seeds for what must hold with any: a few in every run, and the others in `make fuzz`."""

import os

import pytest

__all__ = ["seeds"]


def seeds(few: int, many: int) -> list:
    """Parameters: 0, 1, … up to `few`; with HNEXPORT_FUZZ=1 up to `many`, of which the further ones belong to it."""
    count = many if os.environ.get("HNEXPORT_FUZZ") == "1" else few
    return [pytest.param(seed, marks=[pytest.mark.fuzz] if seed >= few else []) for seed in range(count)]
