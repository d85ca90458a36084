"""`hnexport deploy web`."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from bundles import small_bundle
from web_runtime import runtime_package
from written import written

PLAIN = ("--mean", "0", "--std", "1")


@pytest.fixture
def runtime(tmp_path):
    return runtime_package(tmp_path / "onnxruntime-web")


def test_a_site_is_written_and_its_weight_is_said(hnexport, runtime, tmp_path):
    done = hnexport("deploy", "web", small_bundle("hypernet"), *PLAIN, "--out", "site", "--runtime", runtime)
    assert done.returncode == 0, done.stderr
    first, second, third, fourth, last = done.stdout.splitlines()
    assert first.startswith("runtime: onnxruntime-web 1.30.0, ")
    assert second == "weights: 1.7 MB"
    assert third.startswith("page: ")
    assert fourth == "pictures: (pixel/255 - mean) / std, mean 0, std 1, as the command says"
    assert last == "site"
    assert (tmp_path / "site" / "index.html").exists()


def test_a_site_that_is_there_is_replaced_with_force_alone(hnexport, runtime):
    command = ["deploy", "web", small_bundle("hypernet"), *PLAIN, "--out", "site", "--runtime", runtime]
    assert hnexport(*command).returncode == 0
    done = hnexport(*command)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: site exists: choose another --out, or give --force to replace it"
    assert hnexport(*command, "--force").returncode == 0


def test_a_network_that_the_page_cannot_show_is_refused(hnexport, runtime):
    done = hnexport("deploy", "web", written("list of encoders").folder, "--out", "site", "--runtime", runtime)
    assert done.returncode == 2
    assert "For other networks build a page on the module in examples/web" in done.stderr


def test_pictures_that_nobody_says_how_to_normalise_are_refused_with_the_options_that_say_it(
    hnexport, runtime, tmp_path
):
    command = ["deploy", "web", small_bundle("hypernet"), "--out", "site", "--runtime", runtime]
    done = hnexport(*command)
    assert done.returncode == 2
    assert "give --mean … --std …, or --mean 0 --std 1 where training took pixel / 255" in done.stderr
    done = hnexport(*command, "--mean", "0.5")
    assert done.returncode == 2
    assert "--mean goes with --std: give both, --std 1 where there was none" in done.stderr
    assert not (tmp_path / "site").exists()


def test_help_of_the_subcommand_is_an_answer(hnexport):
    done = hnexport("deploy", "web", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--serve" in done.stdout


def test_a_port_that_is_taken_leaves_the_site_and_says_so(hnexport, runtime, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = ["deploy", "web", small_bundle("hypernet"), *PLAIN, "--out", "site", "--runtime", runtime]
        done = hnexport(*command, "--serve", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "the site was written: site" in done.stderr
    assert "give another with --port, or 0 for any that is free" in done.stderr
    assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [((), "give --out FOLDER, --serve, or both"), (("--out", "site", "--port", "8001"), "--port is for --serve")],
)
def test_usage_that_makes_no_sense_is_refused(hnexport, arguments, reason):
    done = hnexport("deploy", "web", small_bundle("hypernet"), *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


@contextmanager
def stopped(process):
    """Whatever happens, the process ends."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_it_is_served_until_it_is_interrupted_and_leaves_nothing_behind(runtime, tmp_path):
    command = [sys.executable, "-m", "hnexport", "deploy", "web", small_bundle("hypernet"), *PLAIN]
    command += ["--serve", "--port", "0"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with stopped(
        subprocess.Popen(
            [*map(str, command), "--runtime", str(runtime)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
    ) as process:
        lines = [process.stdout.readline() for _ in range(5)]
        address, note = lines[-1].split(" ", 1)
        assert note == "(Ctrl-C ends it)\n"
        with urllib.request.urlopen(address) as response:
            assert b"<title>hnexport</title>" in response.read()
        assert len(list(temporary.glob("hnexport-*"))) == 1
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""
    assert list(temporary.glob("hnexport-*")) == []
