"""Requests that wait, and the calls that they become.

Requests with the same key (the same call of the same ensemble, see `work`) are one batch. A batch is computed when a
worker is free and it is full, or its oldest request has waited for the window; the oldest comes first. While all
workers are busy requests gather by themselves, so that under load the window costs nothing.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hnexport.errors import BundleError, HnexportError
from hnexport.serve.metrics import Metrics
from hnexport.serve.refusal import RefusedError, unavailable
from hnexport.serve.work import Ran, Work, run_together
from hnexport.text import clean, shorten

__all__ = ["Batcher"]

logger = logging.getLogger(__name__)

Outcome = Ran | Exception


@dataclass(eq=False, kw_only=True)
class _Waiting:
    """A request in the queue.

    Attributes:
        since: when it came, in the loop's time.
    """

    work: Work
    since: float
    answer: "asyncio.Future[Ran]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """A bounded queue and the threads that empty it; lives on one event loop.

    Attributes:
        rows: samples that wait.
        running: calls that are being computed.
    """

    def __init__(self, *, workers: int, batch: int, window_s: float, queue: int, metrics: Metrics) -> None:
        self.rows, self.running = 0, 0
        self._workers, self._batch, self._window, self._queue = workers, batch, window_s, queue
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="hnexport-serve")
        self._waiting: dict[tuple[Any, ...], deque[_Waiting]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, work: Work, timeout_s: float | None = None) -> Ran:
        """Wait for the request's turn and compute it.

        Where whoever waits is cancelled, so is the request, unless it is being computed already.

        Args:
            timeout_s: refuse it where it has not begun by then.

        Raises:
            RefusedError: the queue is full, the time is over, or the network cannot compute these inputs.
            HnexportError: the runtime failed.
        """
        if self.rows + work.rows > self._queue:
            self._metrics.refused.labels("queue").inc()
            raise unavailable(f"{self.rows} samples wait already, of at most {self._queue}: try again a little later")
        loop = asyncio.get_running_loop()
        one = _Waiting(work=work, since=loop.time())
        self._waiting.setdefault(work.key, deque()).append(one)
        self.rows += work.rows
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._too_late, one)
        self._schedule()
        try:
            return await one.answer
        finally:
            self._leave(one)
            if timer is not None:
                timer.cancel()

    async def close(self) -> None:
        """Wait for what is being computed, and end the threads."""
        while self._calls:
            await asyncio.wait(self._calls)
        self._pool.shutdown()

    def _too_late(self, one: _Waiting) -> None:
        if self._leave(one) and not one.answer.done():
            self._metrics.refused.labels("timeout").inc()
            one.answer.set_exception(unavailable("the request's time was over before its turn came"))

    def _leave(self, one: _Waiting) -> bool:
        """Take a request out of the queue; whether it was there."""
        line = self._waiting.get(one.work.key)
        if line is None or one not in line:
            return False
        line.remove(one)
        if not line:
            del self._waiting[one.work.key]
        self.rows -= one.work.rows
        return True

    def _schedule(self) -> None:
        """Start what can be started, and come again when the next window ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting and self.running < self._workers:
            now = loop.time()
            lines = sorted(self._waiting.values(), key=lambda line: line[0].since)
            ready = next((line for line in lines if self._is_ready(line, now)), None)
            if ready is None:
                self._timer = loop.call_later(lines[0][0].since + self._window - now, self._schedule)
                return
            self._start(self._taken(ready))

    def _is_ready(self, line: Sequence[_Waiting], now: float) -> bool:
        return now - line[0].since >= self._window or sum(one.work.rows for one in line) >= self._batch

    def _taken(self, line: deque[_Waiting]) -> list[_Waiting]:
        """The first of a line, as many as fit into a batch."""
        taken: list[_Waiting] = []
        rows = 0
        while line and (not taken or rows + line[0].work.rows <= self._batch):
            one = line[0]
            self._leave(one)
            taken.append(one)
            rows += one.work.rows
        return taken

    def _start(self, batch: list[_Waiting]) -> None:
        self.running += 1
        call = asyncio.get_running_loop().create_task(self._call(batch))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            works = [one.work for one in batch]
            numbers = [next(self._numbers) for _ in range(1 + len(works))]
            outcomes = await loop.run_in_executor(self._pool, _outcomes, works, numbers)
        finally:
            self.running -= 1
        for one in batch:
            self._metrics.waited.observe(began - one.since)
        self._metrics.rows.observe(sum(work.rows for work in works))
        self._metrics.computed.observe(loop.time() - began)
        for one, outcome in zip(batch, outcomes, strict=True):
            if one.answer.done():  # whoever waited has gone
                continue
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)
        self._schedule()


def _outcomes(works: Sequence[Work], numbers: Sequence[int]) -> Sequence[Outcome]:
    """Of each request; where a batch cannot be computed each is tried alone, so that none spoils another's."""
    try:
        return run_together(works, numbers[0])
    except Exception as error:
        if len(works) == 1:
            return [_refused(error)]
        logger.info("a batch of %d requests is computed one by one: %s", len(works), error)
        return [_outcomes([work], [number])[0] for work, number in zip(works, numbers[1:], strict=True)]


def _refused(error: Exception) -> Exception:
    """A graph that computed its golden sample and not this: the values are none that it takes."""
    if isinstance(error, BundleError) and isinstance(error, HnexportError):
        return RefusedError(
            422, f"the network cannot compute these inputs: {shorten(clean(str(error.__cause__ or error)))}"
        )
    return error
