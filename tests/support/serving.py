"""A service in this process, and one in a process of its own."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
from starlette.types import ASGIApp

from hnexport.serve.app import make_app
from hnexport.serve.service import Service
from hnexport.serve.settings import LoadSettings, ServeOptions

Found = TypeVar("Found")


@dataclass
class Asking:
    """A client of a service in this process."""

    service: Service
    client: httpx.AsyncClient

    async def infer(self, inputs: list[dict[str, Any]], **more: Any) -> httpx.Response:
        return await self.client.post(f"/v2/models/{self.service.name}/infer", json={"inputs": inputs, **more})

    async def plain(self, inputs: dict[str, Any], **more: Any) -> httpx.Response:
        return await self.client.post("/predict", json={"inputs": inputs, **more})


@contextlib.asynccontextmanager
async def serving(bundle: Path, *, start: bool = True, **options: Any) -> AsyncIterator[Asking]:
    service = Service(bundle, ServeOptions(**{"load": LoadSettings(provider="cpu"), **options}))
    app: ASGIApp = make_app(service)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        if start:
            await service.start()
        try:
            yield Asking(service, client)
        finally:
            await service.close()


class Ask(Protocol):
    """Run a coroutine of an `Asking` on a service over a bundle; options are those of the service."""

    def __call__(self, what: Callable[[Asking], Awaitable[Found]], bundle: Path = ..., **options: Any) -> Found: ...


def asker(built: Path) -> Ask:
    """An `Ask` over a bundle, unless the call names another."""

    def run(what: Callable[[Asking], Awaitable[Found]], bundle: Path = built, **options: Any) -> Found:
        async def whole() -> Found:
            async with serving(bundle, **options) as asking:
                return await what(asking)

        return asyncio.run(whole())

    return run


@dataclass
class Process:
    """`hnexport serve` in a process of its own."""

    process: "subprocess.Popen[str]"
    address: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=60)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def started_process(bundle: Path, *options: str, ready: bool = True) -> Iterator[Process]:
    command = [sys.executable, "-m", "hnexport", "serve", str(bundle), "--port", "0", "--provider", "cpu"]
    process = subprocess.Popen(
        [*command, "--drain", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        found = re.match(r"(http://\S+)", line)
        assert found, line + process.stderr.read()
        if ready:
            assert process.stdout.readline().startswith("ready: ")
        yield Process(process, found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)
        process.stdout.close()
        process.stderr.close()


class Started(Protocol):
    """Start `hnexport serve`: a context manager that gives a `Process`."""

    def __call__(self, bundle: Path, *options: str, ready: bool = True) -> AbstractContextManager[Process]: ...
