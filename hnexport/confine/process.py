"""The parent's side: start a process that confines itself, ask it, and end it when it takes too much."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.confine.frames import Frame, FrameError, frame_parts, read_frame
from hnexport.confine.limits import Budget

__all__ = ["ConfinedProcess", "EndedError"]

Array = NDArray[np.generic]

_START_SECONDS = 300.0  # importing libraries, on a busy machine; no stranger's code has run by then
_TICK_SECONDS = 0.05
_STDERR_BYTES = 16 * 1024
_PIECE_BYTES = 2**20
_MOST_THREADS = 4096  # of torch's several pools, on a machine of a thousand processors
_WALL_FACTOR = 20.0  # of processor time: how busy a machine may be


class EndedError(Exception):
    """A confined process ended, or was ended, before it answered; the message says why, in half a sentence."""


class ConfinedProcess:
    """A Python process that confines itself and then answers by a module; it is killed when this object goes.

    See `hnexport.confine.child` for what the module must have. Ask `missing_for_confinement` first.
    """

    def __init__(self, module: str, budget: Budget) -> None:
        self._budget = budget
        self._process = subprocess.Popen(
            _command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        self._errors: deque[bytes] = deque()
        self._cpu_credit, self._idle_credit = budget.cpu_seconds, budget.idle_seconds
        self._pipes = [pipe for pipe in (self._process.stdin, self._process.stdout, self._process.stderr) if pipe]
        for pipe in self._pipes:
            if sys.platform != "win32":
                os.set_blocking(pipe.fileno(), False)
        self._end = weakref.finalize(self, _end, self._process)

    def close(self) -> None:
        """End the process, if it still runs."""
        self._end()

    def start(self, meta: Mapping[str, Any]) -> Frame:
        """Ask the first question, whose answer is given before anything of a stranger's was run.

        Raises:
            EndedError: the process died before it answered.
        """
        watch = _Watch(self._process.pid, _START_SECONDS, _START_SECONDS)
        return self._ask(meta, (), watch, 0)

    def ask(
        self, meta: Mapping[str, Any], arrays: Iterable[tuple[str, Array]], cpu_seconds: float, answer_bytes: int
    ) -> Frame:
        """Send a question and wait for the answer.

        Args:
            cpu_seconds: processor time that this question may cost; what is not used is kept for the next ones.
            answer_bytes: the most that the answer's arrays may hold.

        Raises:
            EndedError: the process died, took too long or too much, or its answer is no answer. It is gone then.
        """
        self._cpu_credit += cpu_seconds
        watch = _Watch(self._process.pid, self._cpu_credit, self._idle_credit)
        try:
            return self._ask(meta, arrays, watch, answer_bytes)
        finally:
            self._cpu_credit -= watch.cpu
            self._idle_credit -= watch.idle

    def _ask(
        self, meta: Mapping[str, Any], arrays: Iterable[tuple[str, Array]], watch: "_Watch", most_bytes: int
    ) -> Frame:
        if not self._end.alive:
            raise EndedError("its process was ended before")
        try:
            exchange = _Exchange(self._process, self._errors, watch)
            for part in frame_parts(meta, arrays):
                exchange.send(part)
            return read_frame(exchange.receive, most_bytes)
        except FrameError as error:
            self.close()
            raise EndedError(f"its answer is malformed: {error}") from error
        except BaseException:
            self.close()
            raise


class _Watch:
    """What a process spends while it is waited for, in seconds: on a processor, and doing nothing."""

    def __init__(self, process: int, cpu_seconds: float, idle_seconds: float) -> None:
        self.cpu = self.idle = 0.0
        self._tasks, self._cpu_limit, self._idle_limit = Path(f"/proc/{process}/task"), cpu_seconds, idle_seconds
        self._start = self._last = time.monotonic()
        self._seen = self._times()

    def check(self, *, answered: bool) -> None:
        """Count the time since the last check.

        Args:
            answered: whether there is something to read or room to write: it is this process that must act then.

        Raises:
            EndedError: the process computed, or idled, for longer than it may, or started too many threads.
        """
        now, (cpu, waited) = time.monotonic(), self._times()
        passed, self._last = now - self._last, now
        computed, stood = max(0.0, cpu - self._seen[0]), max(0.0, waited - self._seen[1])
        self._seen = (cpu, waited)
        self.cpu += computed
        if answered:
            return
        self.idle += max(0.0, passed - computed - stood)
        if self._threads > _MOST_THREADS:
            raise EndedError(f"it started {self._threads} threads")
        if self.cpu > self._cpu_limit:
            raise EndedError(f"it was still computing after {self.cpu:.0f} s of processor time")
        if self.idle > self._idle_limit:
            raise EndedError(f"it did nothing for {self.idle:.0f} s")
        if now - self._start > _WALL_FACTOR * max(self._cpu_limit, self._idle_limit):
            raise EndedError(f"it had no answer after {now - self._start:.0f} s")

    def _times(self) -> tuple[float, float]:
        """Seconds on a processor and seconds of waiting for one, of all threads that live."""
        cpu = waited = self._threads = 0
        with contextlib.suppress(OSError):
            for task in self._tasks.iterdir():
                self._threads += 1
                with contextlib.suppress(OSError, ValueError, IndexError):
                    run, wait, *_ = (task / "schedstat").read_text(encoding="ascii").split()
                    cpu, waited = cpu + int(run), waited + int(wait)
        return 1e-9 * cpu, 1e-9 * waited


class _Exchange:
    """One question and its answer, over pipes that neither side may block."""

    def __init__(self, process: "subprocess.Popen[bytes]", errors: deque[bytes], watch: _Watch) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise EndedError("its process was opened without pipes")
        self._process, self._errors, self._watch = process, errors, watch
        self._input, self._output, self._error_pipe = (
            process.stdin.fileno(),
            process.stdout.fileno(),
            process.stderr.fileno(),
        )

    def send(self, data: memoryview) -> None:
        """Write all of it."""
        while data:
            self._wait(self._input, selectors.EVENT_WRITE)
            try:
                data = data[os.write(self._input, data[:_PIECE_BYTES]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise EndedError(self._death()) from None

    def receive(self, size: int) -> bytearray:
        """Read exactly so many bytes."""
        found = bytearray(size)
        view, done = memoryview(found), 0
        while done < size:
            self._wait(self._output, selectors.EVENT_READ)
            try:
                count = _read_into(self._output, view[done : done + _PIECE_BYTES])
            except BlockingIOError:
                continue
            if count == 0:
                raise EndedError(self._death())
            done += count
        return found

    def _wait(self, pipe: int, event: int) -> None:
        while True:
            with selectors.DefaultSelector() as selector:
                selector.register(pipe, event)
                with contextlib.suppress(KeyError, ValueError):
                    selector.register(self._error_pipe, selectors.EVENT_READ)
                ready = {key.fd for key, _ in selector.select(_TICK_SECONDS)}
            self._watch.check(answered=pipe in ready)
            if self._error_pipe in ready and not self._drain():
                time.sleep(_TICK_SECONDS / 10)  # closed: it stays ready for ever
            if pipe in ready:
                return

    def _drain(self) -> bool:
        """Keep the end of what it says on standard error."""
        try:
            data = os.read(self._error_pipe, _STDERR_BYTES)
        except OSError:
            return False
        self._errors.append(data)
        while sum(map(len, self._errors)) > _STDERR_BYTES:
            self._errors.popleft()
        return bool(data)

    def _death(self) -> str:
        """Why the process is gone."""
        try:
            code = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return "it closed its answers"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its process was ended by {signal.Signals(-code).name}"
        while self._drain():
            pass
        said = b"".join(self._errors).decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with code {code}" + (f" ({said[-1][:200]})" if said else "")


def _read_into(pipe: int, view: memoryview) -> int:
    """Read what there is, at most what fits; how many bytes that was."""
    if sys.platform == "win32":
        raise EndedError("Windows confines no process")
    return os.readv(pipe, [view])


def _command(module: str) -> list[str]:
    """Python without the user's environment, on the very path that this process imports from."""
    path = [os.path.abspath(entry) for entry in sys.path]
    code = f"import sys; sys.path[:] = {path!r}; from hnexport.confine.child import main; main({module!r})"
    return [sys.executable, "-I", "-B", "-W", "ignore", "-c", code]


def _environment() -> dict[str, str]:
    """Nothing of the user's but what finds shared libraries and says how text is read."""
    kept = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "PATH", "SYSTEMROOT")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "OPENBLAS_NUM_THREADS": "1",  # numpy would start its threads before the process is confined
        "HOME": "/",
        "TORCHINDUCTOR_CACHE_DIR": "/",  # a folder that exists is asked of it at import, though nothing is compiled
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:  # its number is still its own
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()
