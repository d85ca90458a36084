"""Ctrl-C, SIGTERM and SIGHUP: each leaves through the context managers, which remove what is half written."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from hnexport.cli.exit_codes import of_signal
from hnexport.interrupts import Interrupted

__all__ = ["Interrupted", "install"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_AGAIN_SECONDS = 0.05
_INSISTENT = 3  # so many Ctrl-C end the process, whatever it is cleaning up


def install(*, verbose: Callable[[], bool]) -> None:
    """Turn the signals that end a program into one `Interrupted`; later ones are ignored, so that cleaning up goes on.

    A signal that was ignored when the command started stays so: `nohup` ignores SIGHUP, and a shell ignores SIGINT for
    its jobs in the background. The third Ctrl-C ends the process at once.

    Args:
        verbose: whether to show errors that no caller can see: in threads and in finalisers.
    """
    state = _State()
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, state.handle)
    sys.unraisablehook = state.unraisable(sys.unraisablehook, verbose)
    threading.excepthook = _in_thread(threading.excepthook, verbose)


class _State:
    """What was asked so far."""

    def __init__(self) -> None:
        self._ending = False
        self._interrupts = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise once; end the process where someone insists."""
        self._interrupts += number == signal.SIGINT
        if self._interrupts >= _INSISTENT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        if not self._ending:
            self._ending = True
            raise Interrupted(of_signal(number))

    def unraisable(self, before: Callable[[Any], None], verbose: Callable[[], bool]) -> Callable[[Any], None]:
        """A hook for exceptions that Python had to drop; one of ours is raised again."""

        def hook(dropped: Any) -> None:
            if isinstance(dropped.exc_value, Interrupted):
                self._ending = False
                number = int(dropped.exc_value.code or 0) - of_signal(0)
                threading.Timer(_AGAIN_SECONDS, _send, (number,)).start()  # after this hook has ended
            elif verbose():
                before(dropped)

        return hook


def _send(number: int) -> None:
    """Send this process a signal, from a thread of its own."""
    if sys.platform == "win32":
        signal.raise_signal(number)  # there, `os.kill` ends the process at once
    else:
        os.kill(os.getpid(), number)  # not raised: it has to interrupt the main thread


def _in_thread(before: Callable[[Any], object], verbose: Callable[[], bool]) -> Callable[[Any], None]:
    def hook(failed: Any) -> None:
        if verbose():
            before(failed)

    return hook
