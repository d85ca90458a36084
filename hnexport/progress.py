"""How long-running functions tell how far they are; the library itself never prints."""

from collections.abc import Callable

__all__ = ["Progress", "no_progress"]

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the steps done and the steps in all."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
