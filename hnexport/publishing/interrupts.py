"""Signals that wait: what has begun to be put away is put away before the next interrupt is heard."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["deferred_signals"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP while the body runs; what came meanwhile is raised at its end.

    Handlers are exchanged, not masked: with other threads about, a masked signal still reaches the process. Signals
    that are ignored stay ignored. Python runs handlers in the main thread alone, so that others need none of this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(signum: int, frame: FrameType | None) -> None:
        held.append(signum)

    found = {number: signal.getsignal(number) for number in _SIGNALS}
    replaced = {number: old for number, old in found.items() if old not in (None, signal.SIG_IGN)}
    try:
        for number in replaced:
            signal.signal(number, hold)
        yield
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)
        if held:
            signal.raise_signal(held[0])
