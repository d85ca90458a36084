"""Benchmarks: what they measure is what they say; contenders that cannot run say why."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from interruptible import INTERRUPTS, interruptible
from shared import Built
from thorough import first

from hnexport.bench import run
from hnexport.bench.chart import write_chart
from hnexport.bench.contenders import CONTENDERS
from hnexport.bench.inputs import draw_samples
from hnexport.bench.plain import write_plain
from hnexport.bench.results import BenchReport
from hnexport.bench.run import BenchOptions, _Worker, bench
from hnexport.bench.task import BenchTask
from hnexport.bundle import read_golden
from hnexport.cli.main import cli
from hnexport.cli.render_bench import print_bench
from hnexport.errors import BenchError, RuntimeInputError
from hnexport.runtime import CudaOptions, Precision

QUICK = BenchOptions(batch_sizes=(1, 2), seconds=0.01, least_rounds=3, threads=1)


@pytest.fixture(scope="module")
def report(built: Built) -> BenchReport:
    contenders = (
        "materialised", "generated", "ensemble", "torch", "hypnettorch", "folded", "openvino-materialised",
        "ensemble-materialised", "ensemble-shared"
    )  # fmt: skip
    return bench(built.path, dataclasses.replace(QUICK, contenders=contenders))


@pytest.mark.thorough
def test_every_contender_is_timed_against_plain_at_every_batch_size(report: BenchReport) -> None:
    names = [contender.name for contender in report.contenders]
    assert names[0] == "plain"
    assert set(names) | set(report.not_run) == {
        "plain", "materialised", "generated", "ensemble", "torch", "hypnettorch", "folded", "openvino-materialised",
        "ensemble-materialised", "ensemble-shared"
    }  # fmt: skip
    assert set(report.not_run) == {"folded"}
    assert "hnexport tune" in report.not_run["folded"]
    for contender in report.contenders:
        assert [timing.batch_size for timing in contender.timings] == [1, 2]
        for timing in contender.timings:
            low, high = timing.ratio_quartiles
            assert 0 < timing.median_ms <= timing.p95_ms
            assert 0 < low <= timing.ratio <= high
            assert timing.rounds >= 3
    assert all(timing.ratio == 1.0 for timing in report.contenders[0].timings)


@pytest.mark.thorough
def test_memory_is_of_each_process_and_disk_of_the_files_it_needs(report: BenchReport, built: Built) -> None:
    sizes = {name: record.size_bytes for name, record in built.manifest.files.items()}
    by_name = {contender.name: contender for contender in report.contenders}
    for contender in report.contenders:
        assert 1e7 < contender.baseline_bytes <= contender.peak_bytes
        assert contender.resident_bytes <= contender.peak_bytes
        assert contender.load_seconds > 0
    assert by_name["generated"].disk_bytes == sizes["model.onnx"] + sizes["weights.bin"]
    assert by_name["ensemble"].disk_bytes == sizes["ensemble.onnx"] + sizes["weights.bin"]
    assert by_name["hypnettorch"].disk_bytes == 0
    assert by_name["torch"].baseline_bytes > 1.5 * by_name["plain"].baseline_bytes


def test_an_ensemble_is_compared_with_as_many_plain_runs_as_it_has_members() -> None:
    """With times that are given: on a busy machine those of a few rounds say nothing."""
    ready = {"runtime": "none", "load_seconds": 1.0, "disk_bytes": 1, "baseline_bytes": 1}
    worker = SimpleNamespace(ready=ready, ask=lambda size: {"resident_bytes": 1, "peak_bytes": 1})
    names = ("plain", "ensemble", "generated", "openvino-plain", "openvino-ensemble")
    times = {1: {name: [6.0, 12.0, 30.0] for name in names}}
    times[1].update({"plain": [1.0, 2.0, 1.0], "openvino-plain": [2.0, 3.0, 4.0]})
    found = {name: run._result(name, worker, times, 3).timings[0] for name in names}
    assert [one.ratio for one in found.values()] == [1.0, 2.0, 6.0, 2.0, 2.0]
    assert [one.plain_runs for one in found.values()] == [1.0, 6.0, 6.0, 2.0, 6.0]
    assert [one.openvino_plain_runs for one in found.values()] == [None, None, None, None, 4.0]
    assert CONTENDERS["ensemble"].all_members


@pytest.mark.thorough
def test_an_ensemble_in_int8_of_either_engine_is_timed_until_its_members_are_enough(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hnexport.quantise.options import Int8Options
    from hnexport.tune.int8 import quantised

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = np.random.default_rng(5).normal(size=(24, *built.manifest.signature.inputs[0].shape[1:]))
    np.save(tmp_path / "images.npy", images.astype(np.float32))
    quantised(built.path, tmp_path / "images.npy", options=Int8Options(samples=16))
    names = ("ensemble-until", "ensemble-int8-until", "openvino-ensemble-int8", "openvino-ensemble-int8-until")
    options = dataclasses.replace(
        QUICK, batch_sizes=(2,), contenders=(*names, "openvino-plain"), until=0.001, samples=tmp_path / "images.npy"
    )
    report = bench(built.path, options)
    assert not report.not_run
    found = {contender.name: contender.timings[0] for contender in report.contenders}
    assert {name: found[name].members_used for name in names} == {**dict.fromkeys(names, 1.0), names[2]: None}
    assert all(
        (found[name].openvino_plain_runs is None) is (name == "ensemble-until") for name in (names[0], *names[2:])
    )
    print_bench(report, wide=True)
    report = bench(built.path, dataclasses.replace(options, contenders=(names[1],), until="exact"))
    used = report.contenders[1].timings[0].members_used
    assert used is not None
    assert 2 <= used <= 3


def test_samples_that_are_given_are_what_is_run(built: Built, tmp_path: Path) -> None:
    wrong = tmp_path / "images.npy"
    np.save(wrong, np.zeros((2, 3, 4), np.float32))
    with pytest.raises(RuntimeInputError, match="images"):
        bench(built.path, dataclasses.replace(QUICK, contenders=(), samples=wrong))
    images = np.arange(3 * 2, dtype=np.float32).reshape(3, 2)
    signature = SimpleNamespace(inputs=[SimpleNamespace(name="image", has_batch=True)])
    drawn = draw_samples(signature, {"image": images}, 50, np.random.default_rng(0))["image"]
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in images.tolist()}


def test_a_batch_that_a_contender_cannot_run_is_said() -> None:
    worker: Any = object.__new__(_Worker)
    worker.name, worker.ask = "plain", lambda question: {"error": "out of memory"}
    with pytest.raises(BenchError, match="plain cannot run a batch of 32: out of memory; leave that batch size"):
        worker.time(32)


KINDS = ("plain", "materialised", "generated")
SINGLE = (
    "plain",
    "materialised",
    "generated",
    "torch",
    "openvino-plain",
    "openvino-materialised",
    "openvino-generated",
)


@pytest.mark.parametrize("name", SINGLE)
def test_contenders_compute_the_member_that_is_timed(name: str, built: Built, tmp_path: Path) -> None:
    """A contender that computes something else would be a meaningless time."""
    golden = read_golden(built.path)
    write_plain(built.path, built.manifest, 2, tmp_path)
    task = BenchTask(bundle=built.path, manifest=built.manifest, plain=tmp_path, member=2, provider="cpu", threads=1)
    found, known = CONTENDERS[name].load(task).run(golden.inputs), golden.outputs["logits"][2]
    logits = np.asarray(found["logits"] if isinstance(found, dict) else found[0])
    np.testing.assert_allclose(logits, known, rtol=1e-3, atol=1e-4 * np.abs(known).max())


def test_the_plain_network_holds_constants_only(built: Built, tmp_path: Path) -> None:
    write_plain(built.path, built.manifest, 0, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx"), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["image"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contenders": ("plane",)}, "'plane' is not a contender"),
        ({"batch_sizes": (0,)}, "at least 1"),
        ({"member": 3}, "member 3 does not exist"),
        ({"precision": Precision.TF32}, "precision tf32 needs the provider cuda, found cpu"),
        ({"precision": Precision.BFLOAT16}, "bfloat16 is a contender of its own"),
        ({"provider": "cuda"}, "the plain network cannot run"),
    ],
    ids=["contender", "batch size", "member", "tf32", "bfloat16", "provider"],
)
def test_what_cannot_be_benchmarked_is_said(changes: dict[str, Any], message: str, built: Built) -> None:
    if changes.get("provider") == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        changes = {**changes, "provider": "tensorrt"}
    options = dataclasses.replace(QUICK, **{"contenders": (), **changes})
    with pytest.raises(BenchError, match=message):
        bench(built.path, options)


@pytest.mark.parametrize("option", [["--cuda-graph"], ["--prefer-nhwc"], ["--precision", "tf32"]], ids=" ".join)
def test_options_of_cuda_are_refused_on_another_provider(option: list[str], built: Built) -> None:
    done = CliRunner().invoke(cli, ["bench", str(built.path), *option])
    assert done.exit_code == 2
    assert "need --provider cuda" in done.output


@pytest.mark.cuda
@pytest.mark.parametrize("graph", [False, True], ids=["bound", "graph"])
def test_contenders_run_on_a_gpu(built: Built, graph: bool) -> None:
    options = dataclasses.replace(
        QUICK, provider="cuda", contenders=("materialised", "generated", "torch"), cuda=CudaOptions(graph=graph)
    )
    report = bench(built.path, options)
    assert not report.not_run
    assert all(timing.median_ms > 0 for contender in report.contenders for timing in contender.timings)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["chart.svg", "chart.png"])
def test_the_chart_shows_every_contender(name: str, report: BenchReport, tmp_path: Path) -> None:
    write_chart(report, tmp_path / name)
    if name.endswith("png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        return
    root = ElementTree.parse(tmp_path / name).getroot()
    assert root.tag.endswith("svg")
    comments = (tmp_path / name).read_text()
    assert all(contender.name in comments for contender in report.contenders)


@pytest.mark.thorough
def test_a_chart_replaces_a_file_only_if_it_is_told_to(report: BenchReport, tmp_path: Path) -> None:
    path = tmp_path / "chart.svg"
    path.write_text("precious")
    with pytest.raises(BenchError, match="exists: choose another path, or give force=True to replace it"):
        write_chart(report, path)
    assert path.read_text() == "precious"
    write_chart(report, path, force=True)
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(BenchError, match="is not a file"):
        write_chart(report, path, force=True)


def test_a_chart_that_would_replace_a_file_is_refused_before_the_work(built: Built, tmp_path: Path) -> None:
    (tmp_path / "chart.svg").write_text("precious")
    done = CliRunner().invoke(cli, ["bench", str(built.path), "--chart", str(tmp_path / "chart.svg")])
    assert done.exit_code == 2
    assert "give --force to replace it" in " ".join(done.output.split())
    assert (tmp_path / "chart.svg").read_text() == "precious"


def children(process: subprocess.Popen[bytes]) -> list[str]:
    """Process numbers of a process's children."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()


@pytest.mark.thorough
@pytest.mark.parametrize("kill", first(1, INTERRUPTS), ids=lambda kill: kill.name)
def test_an_interrupted_bench_leaves_neither_files_nor_processes(
    built: Built, tmp_path: Path, kill: signal.Signals
) -> None:
    process = subprocess.Popen(
        interruptible("bench", built.path, "--seconds", 1000, "--threads", 1),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not (workers := children(process)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    assert list(tmp_path.glob("hnexport-bench-*"))
    process.send_signal(kill)
    process.communicate()
    assert process.returncode != 0
    assert not list(tmp_path.glob("hnexport-bench-*"))
    assert not [worker for worker in workers if Path("/proc", worker).exists()]


@pytest.mark.parametrize("threads", [0, -3, 10**9])
def test_a_number_of_threads_that_cannot_be_is_refused(threads: int, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["bench", str(tmp_path), "--threads", str(threads)])
    assert done.exit_code == 2
    assert "is not in the range 1<=x<=4096" in done.output


@pytest.mark.thorough
def test_a_chart_of_another_kind_is_refused(report: BenchReport, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"name the chart .svg or .png"):
        write_chart(report, tmp_path / "chart.gif")


def test_the_command_prints_a_table_or_json(built: Built, tmp_path: Path) -> None:
    arguments = ["bench", str(built.path), "--batch-sizes", "1", "--seconds", "0", "--threads", "1"]
    table = CliRunner().invoke(cli, [*arguments, "--chart", str(tmp_path / "chart.svg")])
    assert table.exit_code == 0, table.output
    for word in ("plain", "materialised", "generated", "batch 1", "resident", "not run: folded"):
        assert word in table.output
    assert (tmp_path / "chart.svg").is_file()
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    found = json.loads(done.stdout)
    assert [contender["name"] for contender in found["contenders"]] == ["plain", "materialised", "generated"]
    assert all(math.isfinite(timing["ratio"]) for contender in found["contenders"] for timing in contender["timings"])
