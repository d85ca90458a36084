"""A request's body: no more than may be held, and no longer than may be waited for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from hnexport.serve.refusal import RefusedError, unavailable
from hnexport.serve.service import Service

__all__ = ["Held", "holding", "read_body"]

_MOST_DIGITS = 15
_MOST_DISCARDED = 64 * 2**20
_QUIET_S = 1.0
_CLOSE = {"Connection": "close"}


class Held:
    """The bytes that one request holds of those that all may."""

    def __init__(self, service: Service) -> None:
        self.size_bytes = 0
        self._service = service

    def check(self, size_bytes: int) -> None:
        """Whether so many more may be held.

        Raises:
            RefusedError: this request, or all together, would hold more than they may.
        """
        options, service = self._service.options, self._service
        if self.size_bytes + size_bytes > options.body_bytes:
            raise RefusedError(413, f"a request may have {options.body_bytes} bytes", _CLOSE)
        if service.held_bytes + size_bytes > options.held_bytes:
            service.metrics.refused.labels("bytes").inc()
            refused = unavailable("the requests that wait already fill the memory for them: try again a little later")
            raise RefusedError(refused.status, str(refused), {**refused.headers, **_CLOSE})

    def take(self, size_bytes: int) -> None:
        """Hold so many more.

        Raises:
            RefusedError: as `check`.
        """
        self.check(size_bytes)
        self.size_bytes += size_bytes
        self._service.held_bytes += size_bytes

    def free(self) -> None:
        """Hold nothing."""
        self._service.held_bytes -= self.size_bytes
        self.size_bytes = 0


@contextmanager
def holding(service: Service) -> Iterator[Held]:
    """What a request holds until it is answered."""
    held = Held(service)
    try:
        yield held
    finally:
        held.free()


async def read_body(request: Request, held: Held, timeout_s: float) -> bytes:
    """The whole body.

    Raises:
        RefusedError: it is too large, compressed, or does not come; or there is no room for it.
    """
    try:
        async with asyncio.timeout(timeout_s or None):
            return await _read(request, held)
    except RefusedError:
        with suppress(TimeoutError):  # why it is refused is what the client is told
            async with asyncio.timeout(timeout_s or None):
                await _discard(request)
        raise
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {timeout_s:g} s", _CLOSE) from None
    except ClientDisconnect:
        raise RefusedError(400, "the connection ended before the body did", _CLOSE) from None


async def _read(request: Request, held: Held) -> bytes:
    if any(encoding.lower() not in ("", "identity") for encoding in request.headers.getlist("content-encoding")):
        raise RefusedError(415, "the body must not be compressed: leave Content-Encoding out", _CLOSE)
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit():
        held.check(int(said[:_MOST_DIGITS]))
    parts: list[bytes] = []
    async for part in request.stream():
        held.take(len(part))  # what is announced and does not come takes no room from others
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _discard(request: Request) -> None:
    """Read a refused body, up to a limit: a client that is still sending would see its connection break instead.

    Raises:
        TimeoutError: it does not send: what announces more than it may waits for an answer first.
    """
    left = _MOST_DISCARDED
    while left > 0:
        message = await asyncio.wait_for(request.receive(), _QUIET_S)
        left -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
