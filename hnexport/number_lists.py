"""Comma-separated numbers on a command line, as click's parameter types."""

from typing import Any

import click

__all__ = ["Integers", "Numbers"]


class Integers(click.ParamType[tuple[int, ...]]):
    """Comma-separated integers, as a tuple; `all` becomes the empty tuple where `accepts_all` is set."""

    name = "integers"

    def __init__(self, *, accepts_all: bool = False) -> None:
        self._accepts_all = accepts_all

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse `2,3,7`."""
        if isinstance(value, tuple):
            return value
        if self._accepts_all and value == "all":
            return ()
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            choices = "comma-separated integers" + (" or 'all'" if self._accepts_all else "")
            self.fail(f"{value!r} is not {choices}", param, ctx)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Comma-separated numbers, as a tuple."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse `0.49,0.48,0.45`."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not comma-separated numbers", param, ctx)
