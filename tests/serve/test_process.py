"""`hnexport serve` in a process of its own: start, replacement and stop. Nothing is signalled but that process."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from bundles import edit_manifest
from numpy.typing import NDArray
from serving import Process, Started
from shared import Built
from thorough import first

from hnexport.bundle.manifest import read_identified
from hnexport.runtime import LoadedEnsemble

PATIENCE = 4000  # looks, a twentieth of a second apart: a busy machine fails nothing


def asking(address: str, image: list, stop: threading.Event, found: list, failed: list) -> None:
    """One client that asks until it is stopped, or nobody listens."""
    with httpx.Client(timeout=60) as client:
        while not stop.is_set():
            try:
                answer = client.post(f"{address}/predict", json={"inputs": {"image": image}, "member": 1})
            except httpx.ConnectError:
                return
            except httpx.HTTPError as error:
                failed.append(repr(error))
                return
            if answer.status_code == 200:
                found.append((answer.json()["bundle"], answer.json()["outputs"]["logits"]))
            else:
                failed.append(answer.text)


def test_a_bundle_is_replaced_under_load_and_sigterm_loses_no_request(
    started: Started, built: Built, direct: LoadedEnsemble, images: NDArray[np.float32], tmp_path: Path
) -> None:
    path = tmp_path / "served"
    shutil.copytree(built.path, path)
    shutil.copytree(built.path, tmp_path / "next")
    edit_manifest(tmp_path / "next", lambda manifest: manifest.update(origin="another bundle"))
    digests = {read_identified(folder).digest for folder in (path, tmp_path / "next")}
    stop = threading.Event()
    found: list[Any] = []
    failed: list[Any] = []
    with started(path, "--watch", "0.2") as service:
        arguments = (service.address, images[:1].tolist(), stop, found, failed)
        clients = [threading.Thread(target=asking, args=arguments) for _ in range(4)]
        for client in clients:
            client.start()
        await_answers(found, failed, 4)
        os.rename(path, tmp_path / "before")
        os.rename(tmp_path / "next", path)
        await_metric(service, 'hnexport_replacements_total{result="done"} 1.0')
        await_answers(found, failed, len(found) + 8)
        assert service.stop() == 0
        for client in clients:
            client.join(60)
        assert service.process.stderr.read().count("is served from here on") == 1
    assert not failed
    assert {digest for digest, _ in found} == digests
    logits = np.array([answer for _, answer in found])
    assert np.allclose(logits, direct.predict(images[:1], member=1), rtol=0, atol=1e-5)  # in whatever batch


def await_answers(found: list, failed: list, count: int) -> None:
    for _ in range(PATIENCE):
        if len(found) >= count or failed:
            return
        time.sleep(0.05)
    raise AssertionError(f"{len(found)} answers, awaited {count}")


def await_metric(service: Process, text: str) -> None:
    for _ in range(PATIENCE):
        if text in service.get("/metrics").text:
            return
        time.sleep(0.05)
    raise AssertionError(f"{text!r} never came")


def test_a_damaged_bundle_in_its_place_changes_nothing(
    started: Started, built: Built, images: NDArray[np.float32], tmp_path: Path
) -> None:
    path = tmp_path / "served"
    shutil.copytree(built.path, path)
    with started(path) as service:
        damaged = tmp_path / "damaged"
        shutil.copytree(built.path, damaged)
        manifest = json.loads((damaged / "manifest.json").read_text())
        manifest["origin"] = "another bundle"
        (damaged / "manifest.json").write_text(json.dumps(manifest))
        weights = damaged / "weights.bin"
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        os.rename(path, tmp_path / "before")
        os.rename(damaged, path)
        service.process.send_signal(signal.SIGHUP)
        await_metric(service, 'hnexport_replacements_total{result="refused"} 1.0')
        answer = httpx.post(f"{service.address}/predict", json={"inputs": {"image": images[:1].tolist()}, "member": 1})
        assert answer.json()["bundle"] == built.digest
        assert service.stop(signal.SIGINT) == 0
        assert "the bundle before it still is" in service.process.stderr.read()


def test_liveness_answers_before_the_members_are_made_and_a_stop_then_is_clean(started: Started, built: Built) -> None:
    with started(built.path, ready=False) as service:
        assert service.get("/v2/health/live").status_code == 200
        assert service.stop() == 0


def test_bodies_that_are_announced_and_do_not_come_keep_nobody_out(
    started: Started, built: Built, images: NDArray[np.float32]
) -> None:
    with started(built.path, "--body", "1", "--held", "1") as service, contextlib.ExitStack() as stack:
        port = int(service.address.rpartition(":")[2])
        for _ in range(3):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            idle.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n{")
        body = {"inputs": {"image": images[:1].tolist()}, "member": 0}
        assert httpx.post(f"{service.address}/predict", json=body, timeout=60).status_code == 200


def test_raw_bytes_that_are_no_http_are_answered_with_400(started: Started, built: Built) -> None:
    with started(built.path) as service:
        port = int(service.address.rpartition(":")[2])
        for sent in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(sent + b"\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:  # it announces, and waits
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
        assert service.get("/v2/health/ready").status_code == 200
        service.stop()


@pytest.mark.parametrize(
    ("options", "said"),
    first(
        1,
        [
            (["--port", "{taken}"], "port {taken} of 127.0.0.1 cannot be used: .*give another with --port"),
            (["--digest", "sha256:" + "0" * 64], "is not the bundle that was asked for"),
            (["--host", "nowhere.invalid"], "nowhere.invalid is no address"),
            (["--precision", "int8"], "int8"),
        ],
    ),
)
def test_what_cannot_be_served_ends_with_2_and_a_sentence(built: Built, options: list[str], said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = ["--port", "0", *(option.replace("{taken}", port) for option in options)]
        command = [sys.executable, "-m", "hnexport", "serve", str(built.path), *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert re.search(said.replace("{taken}", port), " ".join(done.stderr.split()))
