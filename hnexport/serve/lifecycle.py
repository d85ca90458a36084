"""From start to stop: the listening socket, the signals, and an end after which no accepted request is missing."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from os import PathLike
from types import FrameType
from typing import Any

import uvicorn

from hnexport.errors import DeployError
from hnexport.runtime.validation import require_path
from hnexport.serve.app import make_app
from hnexport.serve.service import Service
from hnexport.serve.settings import ServeOptions
from hnexport.spelling import spelled
from hnexport.text import number_of

__all__ = ["serve"]

logger = logging.getLogger(__name__)

_BACKLOG = 2048
_LINGER_S = 0.5
"""So long may a connection on which no request has come yet stay open at the end."""


def serve(
    bundle: str | PathLike[str],
    options: ServeOptions | None = None,
    *,
    listening: Callable[[str], None] = lambda address: None,
    ready: Callable[[Service], None] = lambda service: None,
) -> None:
    """Serve a bundle until SIGTERM or Ctrl-C; SIGHUP loads what lies at its path in its place.

    A stop is graceful: the service says that it is not ready, goes on answering for `drain_s` and asks every client to
    leave its connection, then closes its socket and finishes what it has accepted. Call it from the main thread.

    Args:
        listening: called with the address once connections are taken; liveness is answered from then on.
        ready: called once every member is made.

    Raises:
        HnexportError: the bundle cannot be loaded.
        DeployError: the address cannot be had, or requests were left at the end.
    """
    options = options or ServeOptions()
    service = Service(require_path("bundle", bundle), options)
    with _listener(options) as sock:
        host = f"[{options.host}]" if ":" in options.host else options.host
        listening(f"http://{host}:{sock.getsockname()[1]}")
        asyncio.run(_Run(service, options, ready).until_stopped(sock))


class _Server(uvicorn.Server):
    """Leaves the signals to `_Run`, and answers whoever was connected when it stopped listening.

    uvicorn closes its sockets at once, and every connection on which no request is being answered: a client whose
    connection waits to be accepted, or whose request is on its way, would see it break.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for sock in sockets or ():
            await self._accept_the_last(sock)
        deadline = time.monotonic() + _LINGER_S
        while not self.force_exit and time.monotonic() < deadline and any(map(_is_idle, self.server_state.connections)):
            await asyncio.sleep(_LINGER_S / 20)
        await super().shutdown(sockets)

    async def _accept_the_last(self, sock: socket.socket) -> None:
        """Take every connection that waits, and stop listening."""
        waiting = []
        with contextlib.suppress(OSError):  # BlockingIOError: there are no more
            while True:
                waiting.append(sock.accept()[0])
        for server in self.servers:
            server.close()
        for connection in waiting:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state={}
        )
        return made


def _is_idle(connection: Any) -> bool:
    """Whether no request is being answered on a connection: the next one may be on its way."""
    cycle = getattr(connection, "cycle", None)
    return cycle is None or cycle.response_complete


class _Run:
    """One service from start to stop."""

    def __init__(self, service: Service, options: ServeOptions, ready: Callable[[Service], None]) -> None:
        self._service, self._options, self._ready = service, options, ready
        self._failed: Exception | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server = _Server(
            uvicorn.Config(
                make_app(service),
                access_log=False,
                log_config=None,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_graceful_shutdown=max(1, round(options.stop_s)),
            )
        )

    async def until_stopped(self, sock: socket.socket) -> None:
        with _signals(asyncio.get_running_loop(), stop=self._stop, replace=self._replace):
            self._begin(self._start())
            await self._server.serve(sockets=[sock])
            left = len(self._server.server_state.tasks)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._service.close()
        if self._failed is not None:
            raise self._failed
        if left:
            raise DeployError(f"{number_of(left, 'request')} could not be answered within {self._options.stop_s:g} s")

    async def _start(self) -> None:
        try:
            await self._service.start()
        except Exception as error:  # whoever called `serve` is told
            self._failed = error
            self._server.should_exit = True
            return
        self._ready(self._service)
        if self._options.watch_s:
            self._begin(self._service.watch())

    def _stop(self, number: int) -> None:
        """Say that the service is not ready, and end a little later; at once where somebody insists."""
        if self._service.draining:
            self._server.should_exit = True
            self._server.force_exit = self._server.force_exit or number == signal.SIGINT
            return
        self._service.draining = True
        logger.info("asked to stop")
        drain = self._options.drain_s if self._service.served is not None else 0
        asyncio.get_running_loop().call_later(drain, setattr, self._server, "should_exit", True)

    def _replace(self, number: int) -> None:
        self._begin(self._service.replace())

    def _begin(self, what: Any) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.contextmanager
def _signals(
    loop: asyncio.AbstractEventLoop, *, stop: Callable[[int], None], replace: Callable[[int], None]
) -> Iterator[None]:
    """Signals become calls on the loop; afterwards they are what they were."""
    wanted = {"SIGTERM": stop, "SIGINT": stop, "SIGHUP": replace}  # Windows has no SIGHUP
    before = {}

    def handler(what: Callable[[int], None]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(what, number)

        return handle

    for name, what in wanted.items():
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, handler(what))
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _address_option() -> int:
    """Restart at once where old connections linger; on Windows SO_REUSEADDR would let two services listen."""
    return getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


@contextlib.contextmanager
def _listener(options: ServeOptions) -> Iterator[socket.socket]:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise DeployError(f"{options.host} is no address of this machine: {error.strerror or error}") from error
    with sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _address_option(), 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
        except OSError as error:
            raise DeployError(
                f"port {options.port} of {options.host} cannot be used: {error.strerror or error}; give another with "
                f"{spelled('port', '--port')}, or 0 for any that is free"
            ) from error
        yield sock
