"""`hnexport deploy web` and `hnexport deploy triton`."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bundles import small_bundle
from fixture_types import Hnexport
from web_runtime import runtime_package
from written import written

from hnexport.bundle.checksums import record_file
from hnexport.bundle.golden import read_golden, write_golden
from hnexport.bundle.manifest import read_manifest, write_manifest
from hnexport.names import GOLDEN_FILE

PLAIN = ("--mean", "0", "--std", "1")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return runtime_package(tmp_path / "onnxruntime-web")


def test_a_site_is_written_and_its_weight_is_said(hnexport: Hnexport, runtime: Path, tmp_path: Path) -> None:
    done = hnexport("deploy", "web", small_bundle("hypernet"), *PLAIN, "--out", "site", "--runtime", runtime)
    assert done.returncode == 0, done.stderr
    first, second, third, fourth, last = done.stdout.splitlines()
    assert first.startswith("runtime: onnxruntime-web 1.30.0, ")
    assert second == "weights: 1.7 MB"
    assert third.startswith("page: ")
    assert fourth == "pictures: (pixel/255 - mean) / std, mean 0, std 1, as the command says"
    assert last == "site"
    assert (tmp_path / "site" / "index.html").exists()


def test_a_site_that_is_there_is_replaced_with_force_alone(hnexport: Hnexport, runtime: Path) -> None:
    command = ["deploy", "web", small_bundle("hypernet"), *PLAIN, "--out", "site", "--runtime", runtime]
    assert hnexport(*command).returncode == 0
    done = hnexport(*command)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: site exists: choose another --out, or give --force to replace it"
    assert hnexport(*command, "--force").returncode == 0


def test_a_network_that_the_page_cannot_show_is_refused(hnexport: Hnexport, runtime: Path) -> None:
    done = hnexport("deploy", "web", written("list of encoders").folder, "--out", "site", "--runtime", runtime)
    assert done.returncode == 2
    assert "For other networks build a page on the module in examples/web" in done.stderr


def test_pictures_that_nobody_says_how_to_normalise_are_refused_with_the_options_that_say_it(
    hnexport: Hnexport, runtime: Path, tmp_path: Path
) -> None:
    command = ["deploy", "web", small_bundle("hypernet"), "--out", "site", "--runtime", runtime]
    done = hnexport(*command)
    assert done.returncode == 2
    assert "give --mean … --std …, or --mean 0 --std 1 where training took pixel / 255" in done.stderr
    done = hnexport(*command, "--mean", "0.5")
    assert done.returncode == 2
    assert "--mean goes with --std: give both, --std 1 where there was none" in done.stderr
    assert not (tmp_path / "site").exists()


def test_help_of_the_subcommand_is_an_answer(hnexport: Hnexport) -> None:
    done = hnexport("deploy", "web", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--serve" in done.stdout


def test_a_port_that_is_taken_leaves_the_site_and_says_so(hnexport: Hnexport, runtime: Path, tmp_path: Path) -> None:
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
def test_usage_that_makes_no_sense_is_refused(hnexport: Hnexport, arguments: tuple[str, ...], reason: str) -> None:
    done = hnexport("deploy", "web", small_bundle("hypernet"), *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


@contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Whatever happens, the process ends."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_it_is_served_until_it_is_interrupted_and_leaves_nothing_behind(runtime: Path, tmp_path: Path) -> None:
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


def test_a_repository_for_triton_is_written_and_a_further_version_joins(hnexport: Hnexport, tmp_path: Path) -> None:
    command = ["deploy", "triton", small_bundle("hypernet"), "--out", "repository", "--name", "net"]
    done = hnexport(*command, "--models", "conditional,python", "--members", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == ["net/1", "net-python/1", "net-member-1/1"]
    assert done.stdout.splitlines()[-1] == "repository"
    done = hnexport(*command, "--models", "python", "--json")
    assert json.loads(done.stdout)["models"] == ["net-python"]
    assert json.loads(done.stdout)["version"] == 2
    done = hnexport(*command, "--models", "none", "--members", "1", "--version", "1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("give another --version, or leave it out for the next one")
    assert sorted(path.name for path in (tmp_path / "repository" / "net-python").glob("[0-9]")) == ["1", "2"]


def test_a_member_that_is_not_the_same_is_served_nowhere(hnexport: Hnexport, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle("hypernet"), bundle)
    golden = read_golden(bundle)
    outputs = {name: np.multiply(array, np.float64(1.01)) for name, array in golden.outputs.items()}
    write_golden(bundle, dataclasses.replace(golden, outputs=outputs))
    manifest = read_manifest(bundle)
    files = {**manifest.files, GOLDEN_FILE: record_file(bundle / GOLDEN_FILE)}
    write_manifest(bundle, dataclasses.replace(manifest, files=files))
    done = hnexport("deploy", "triton", bundle, "--out", "repository", "--members", "0")
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "nothing was published"
    assert not (tmp_path / "repository").exists()


def test_models_that_triton_cannot_be_given_are_refused(hnexport: Hnexport, tmp_path: Path) -> None:
    for wrong in ("everything", "python,", "none,python"):
        done = hnexport("deploy", "triton", small_bundle("hypernet"), "--out", "repository", "--models", wrong)
        assert done.returncode == 2
        assert "--models: expected conditional, ensemble, python or none, found" in done.stderr
    done = hnexport("deploy", "triton", small_bundle("hypernet"), "--out", "repository", "--models", "none")
    assert done.stderr.splitlines()[-1] == "Error: nothing is to be served: name --models or --members"
    assert not (tmp_path / "repository").exists()
