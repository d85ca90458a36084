"""A folder over HTTP on this machine alone, with the headers that let a page use several threads."""

import contextlib
import functools
import http.server
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from hnexport.errors import DeployError
from hnexport.spelling import spelled

__all__ = ["is_this_machine", "serve"]

logger = logging.getLogger(__name__)

_ADDRESS = "127.0.0.1"
_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",  # a site that was written again is seen at once
    }
)
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".wasm": "application/wasm",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".jpg": "image/jpeg",
        ".jpeg": "image/jpeg",
        ".webp": "image/webp",
        ".gif": "image/gif",
    }
)


def serve(folder: Path, port: int = 8000, *, ready: Callable[[str], None]) -> None:
    """Serve a folder on 127.0.0.1 until the process is interrupted.

    Args:
        port: 0 takes any that is free.
        ready: called with the address once it answers.

    Raises:
        DeployError: the port cannot be had.
    """
    try:
        server = _Server((_ADDRESS, port), functools.partial(_Handler, directory=os.fspath(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DeployError(
            f"port {port} of {_ADDRESS} cannot be used: {reason}; give another with {spelled('port', '--port')}, or 0 "
            "for any that is free"
        ) from error
    with server:
        ready(f"http://{_ADDRESS}:{server.server_address[1]}/")
        server.serve_forever()


def is_this_machine(host: str) -> bool:
    """Whether a Host header is `localhost`, a name that ends in it, or an IP address, with or without a port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return name == "localhost" or name.endswith(".localhost")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        logger.info("a browser broke off", exc_info=True)


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {"": "application/octet-stream", **_TYPES}  # noqa: RUF012  # as the base class has it

    def send_head(self) -> Any:
        """Answer for a name of this machine alone: a page elsewhere may let a name of its own mean 127.0.0.1."""
        if not is_this_machine(self.headers.get("Host", "localhost")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "Only localhost is served")
            return None
        try:
            return super().send_head()
        except ValueError:  # a path that no file can have
            self.send_error(HTTPStatus.NOT_FOUND)
            return None

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        logger.info(format, *args)
