"""What a report says about artifacts that were not run: once, and only where the reader can do something about it."""

from collections.abc import Mapping

from hnexport.runtime.libraries import can_load, driver_library
from hnexport.spelling import spelled

__all__ = ["NOT_ASKED", "NO_FORMAT", "grouped", "remarks", "runtime_option"]

NO_FORMAT = "its format is not in the bundle"
NOT_ASKED = "not asked for: "
"""The start of a reason; the option that asks for it follows."""

_PROVIDER = "onnx on "


def remarks(not_run: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each thing that can be done, from a `ParityReport.not_run`, which keeps every reason.

    Formats that were not built are no news. What stands in the way of a GPU is news only where a driver says that there
    may be one.
    """
    told = {
        name: reason
        for name, reason in not_run.items()
        if reason != NO_FORMAT and (not name.startswith(_PROVIDER) or _may_have_gpu())
    }
    unasked = [name for name, reason in told.items() if reason == NOT_ASKED + runtime_option(name)]
    first = (f"{', '.join(unasked)} ({runtime_option('all')})",) if unasked else ()
    rest = {
        name: reason.removeprefix(NOT_ASKED) if reason.startswith(NOT_ASKED) else reason
        for name, reason in told.items()
        if name not in unasked
    }
    return (*first, *grouped(rest))


def runtime_option(name: str) -> str:
    """What asks for a runtime, or for all."""
    return spelled(f"artifacts=({name!r},)", f"--runtimes {name}")


def grouped(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """`a, b: reason`, each reason once."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return tuple(f"{', '.join(held)}: {reason}" for reason, held in names.items())


def _may_have_gpu() -> bool:
    return can_load(driver_library())
