"""The confined side: hide files, import a service, give up everything else, and answer its questions."""

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from hnexport.confine.frames import Frame, frame_parts, read_frame
from hnexport.confine.sandbox import ConfinementError, die_with_parent, enter, hide_files

__all__ = ["Answer", "Service", "main"]

Array = NDArray[np.generic]
Answer = tuple[Mapping[str, Any], Iterable[tuple[str, Array]]]

_PARENT_BYTES = 2**50  # the parent is trusted: it sends whole files


class Service(Protocol):
    """What a module gives that answers in confinement: its class `Service`, made from the parent's first words."""

    def answer(self, question: Frame) -> Answer:
        """Answer one question; what it raises becomes the answer's `error`."""
        ...


def main(module: str) -> None:
    """Confine this process, then answer questions by a module's `Service` until standard input ends.

    The first frame has `memory_bytes` and what `Service` needs; its answer says whether the process is confined.
    """
    die_with_parent(os.getppid())
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a program prints goes to standard error
    start = _read(sys.stdin.buffer)
    if start is None:
        return
    try:
        hide_files()
        service: Service = importlib.import_module(module).Service(start.meta)
        enter(start.meta["memory_bytes"])
    except ConfinementError as error:
        _send(answers, ({"confined": False, "reason": str(error)}, ()))
        return
    _send(answers, ({"confined": True}, ()))
    while (question := _read(sys.stdin.buffer)) is not None:
        try:
            _send(answers, service.answer(question))
        except Exception as error:  # whatever a program does wrong is an answer
            words = f"{type(error).__name__}: {error}"
            _send(answers, ({"error": words if len(words) < 2000 else words[:200] + words[-1800:]}, ()))


def _send(answers: BinaryIO, answer: Answer) -> None:
    for part in list(frame_parts(*answer)):
        answers.write(part)
    answers.flush()


def _read(source: BinaryIO) -> Frame | None:
    """The next frame; None at the end."""

    def read(size: int) -> bytes:
        data = source.read(size)
        if len(data) != size:
            raise EOFError
        return data

    try:
        return read_frame(read, _PARENT_BYTES)
    except EOFError:
        return None
