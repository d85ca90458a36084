"""The server: this machine alone, with the headers that threads need, and nothing outside its folder."""

import contextlib
import http.client
import socket
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnexport.deploy import serve
from hnexport.errors import DeployError

Ask = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Asks a server of a folder for a path; status, headers and content."""
    folder = tmp_path / "site"
    (folder / "page").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    for name in ("index.html", "page/page.js", "a.mjs", "a.wasm", "a.json", "a.css", "a.svg", "a.png", "weights.bin"):
        (folder / name).write_bytes(name.encode())
    found, ready = [], threading.Event()

    def answer(address: str) -> None:
        found.append(urllib.parse.urlsplit(address))
        ready.set()

    threading.Thread(target=lambda: serve(folder, 0, ready=answer), daemon=True).start()
    assert ready.wait(30)

    def get(path: str, method: str = "GET", **headers: Any) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(found[0].hostname, found[0].port, timeout=30)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        with contextlib.closing(connection):
            return response.status, {name.title(): value for name, value in response.headers.items()}, response.read()

    get.address = found[0]  # type: ignore[attr-defined] # a function with an attribute
    return get


TYPES = {
    "/": "text/html; charset=utf-8",
    "/page/page.js": "text/javascript; charset=utf-8",
    "/a.mjs": "text/javascript; charset=utf-8",
    "/a.wasm": "application/wasm",
    "/a.json": "application/json",
    "/a.css": "text/css; charset=utf-8",
    "/a.svg": "image/svg+xml",
    "/a.png": "image/png",
    "/weights.bin": "application/octet-stream",
}


@pytest.mark.parametrize("path", TYPES)
def test_every_file_has_its_type_and_the_headers_that_threads_need(ask: Ask, path: str) -> None:
    status, headers, content = ask(path)
    assert (status, content) == (200, (path[1:] or "index.html").encode())
    assert headers["Content-Type"] == TYPES[path]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cache-Control"] == "no-cache"


def test_it_listens_on_this_machine_alone(ask: Ask) -> None:
    assert ask.address.hostname == "127.0.0.1"  # type: ignore[attr-defined] # a function with an attribute


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("hn.localhost", 200)]
    + [(host, 421) for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", "")],
)
def test_another_name_for_this_machine_is_not_answered(ask: Ask, host: str, status: int) -> None:
    """Otherwise a page elsewhere, whose name suddenly means 127.0.0.1, reads the bundle."""
    assert ask("/weights.bin", Host=host)[0] == status


OUTSIDE = (
    "/missing",
    "/%00",
    "/weights.bin%00",
    "/page/",
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/page/../../secret.txt",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_but_files_of_the_folder_is_given(ask: Ask, path: str) -> None:
    status, headers, content = ask(path)
    assert status == 404
    assert b"secret" not in content.replace(path.encode(), b"")
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_a_port_that_is_taken_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DeployError, match=r"port \d+ of 127.0.0.1 cannot be used: .*; give another with port"):
            serve(tmp_path, taken.getsockname()[1], ready=lambda address: None)


def test_a_port_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="port 70000 of"):
        serve(tmp_path, 70000, ready=lambda address: None)
