"""The socket that is listened on: no second service takes its port."""

import socket

import pytest

from hnexport.errors import DeployError
from hnexport.serve import ServeOptions
from hnexport.serve.lifecycle import _listener


def test_a_port_that_is_taken_is_refused() -> None:
    with _listener(ServeOptions(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(DeployError, match=f"port {port} of .* cannot be used"), _listener(ServeOptions(port=port)):
            pass


def test_windows_is_asked_for_the_port_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """SO_REUSEADDR lets others have the port too there; another option stands in for the one that only it has."""
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with _listener(ServeOptions(port=0)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
