"""`bench`: interleaved rounds, each contender in its own process, medians and ratios within a round."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hnexport.bench.contenders import CONTENDERS
from hnexport.bench.plain import write_plain
from hnexport.bench.results import BenchReport, ContenderResult, Timing
from hnexport.bench.task import SAMPLES_FILE
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.errors import BenchError
from hnexport.evaluate.targets import ReadOptions
from hnexport.machine.environment import environment
from hnexport.machine.processor import allowed_cores
from hnexport.progress import Progress, no_progress
from hnexport.publishing import deferred_signals
from hnexport.quantise.data import drawn_samples
from hnexport.records import to_json
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.options import Precision
from hnexport.runtime.providers import check_provider_name
from hnexport.runtime.until import Until

__all__ = ["OWN_CONTENDERS", "BenchOptions", "bench"]

OWN_CONTENDERS = ("materialised", "folded", "folded-resident", "generated")
"""The ways to run a bundle's members that are hnexport's own, by name."""
WARM_UP = 2
SHORT_SECONDS = 0.3
PAUSE_SECONDS = 0.05
MOST_SAMPLES = 1024
OPENVINO_PLAIN = "openvino-plain"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """How to benchmark.

    Attributes:
        contenders: names of `CONTENDERS`; `plain` is added, since everything is compared with it.
        seconds: about how long each batch size is timed; at least `least_rounds` rounds in any case.
        threads: for one operator, in every session; None takes the cores that this process may use, as `load` does.
        precision: the arithmetic; "tf32" and "float16" need the provider "cuda".
        cuda: how onnxruntime's contenders use CUDA.
        samples: what is run, as `hnexport evaluate` reads it; None draws numbers from the golden samples' range.
        until: when contenders that stop early do, as `LoadedEnsemble.predict_mean` takes it.
    """

    batch_sizes: tuple[int, ...] = (1, 8, 32)
    contenders: tuple[str, ...] = OWN_CONTENDERS
    provider: str = "cpu"
    member: int = 0
    threads: int | None = None
    seconds: float = 30.0
    least_rounds: int = 5
    precision: Precision = Precision.FLOAT32
    cuda: CudaOptions = field(default_factory=CudaOptions)
    samples: Path | None = None
    until: Until | str | float = "exact"


def bench(bundle: Path, options: BenchOptions | None = None, progress: Progress = no_progress) -> BenchReport:
    """Time a bundle's contenders side by side.

    Args:
        progress: called after each batch size.

    Raises:
        BundleError: the bundle cannot be read or holds no ONNX files.
        BenchError: an option makes no sense, a process died, a contender cannot run a batch, or the plain network
            itself cannot run.
        ProviderError: there is no such provider.
        TuneError: no float16 graph can be made of the plain network.
        RuntimeInputError: the samples cannot be read.
    """
    options = options or BenchOptions()
    check_provider_name(options.provider)
    if options.provider == "auto":
        raise BenchError("what is timed is named: give a provider, such as cpu or cuda")
    manifest = read_manifest(bundle)
    _check(options, manifest)
    names = tuple(dict.fromkeys(("plain", *options.contenders)))
    threads = options.threads or allowed_cores()
    not_run: dict[str, str] = {}
    with _cleaned_up() as stack:
        made = tempfile.TemporaryDirectory(prefix="hnexport-bench-", ignore_cleanup_errors=True)
        plain = Path(stack.enter_context(made))
        write_plain(bundle, manifest, options.member, plain, half=options.precision is Precision.FLOAT16)
        if options.samples is not None:
            samples, _ = drawn_samples(options.samples, manifest, ReadOptions(), MOST_SAMPLES)
            np.savez(plain / SAMPLES_FILE, **samples)  # type: ignore[arg-type]  # no name is allow_pickle
        request = _request(bundle, plain, threads, options)
        workers: dict[str, _Worker] = {}
        for name in names:
            worker = stack.enter_context(_worker(name, request))
            if "error" in worker.ready:
                not_run[name] = worker.ready["error"]
            else:
                workers[name] = worker
        if "plain" not in workers:
            raise BenchError(f"the plain network cannot run: {not_run['plain']}")
        times = {}
        for number, size in enumerate(options.batch_sizes, start=1):
            times[size] = _time(workers, size, options)
            progress("bench", number, len(options.batch_sizes))
        results = tuple(_result(name, worker, times, manifest.members) for name, worker in workers.items())
    return BenchReport(
        bundle=manifest.name,
        members=manifest.members,
        provider=options.provider,
        precision=options.precision.value,
        cuda=options.cuda if options.provider == "cuda" else None,
        until=options.until.text if isinstance(options.until, Until) else str(options.until),
        samples=None if options.samples is None else str(options.samples),
        threads=threads,
        batch_sizes=options.batch_sizes,
        contenders=results,
        not_run=not_run,
        environment=environment(),
    )


def _request(bundle: Path, plain: Path, threads: int, options: BenchOptions) -> dict[str, Any]:
    """What every contender's process is told."""
    return {
        "bundle": str(bundle),
        "plain": str(plain),
        "member": options.member,
        "threads": threads,
        "provider": options.provider,
        "precision": options.precision.value,
        "cuda": to_json(options.cuda),
        "until": to_json(options.until) if isinstance(options.until, Until) else options.until,
    }


def _check(options: BenchOptions, manifest: Manifest) -> None:
    unknown = [name for name in options.contenders if name not in CONTENDERS]
    if unknown:
        raise BenchError(f"{unknown[0]!r} is not a contender; choose among {', '.join(CONTENDERS)}")
    if not options.batch_sizes or min(options.batch_sizes) < 1:
        raise BenchError(f"batch sizes must be at least 1, found {list(options.batch_sizes)}")
    if options.precision is Precision.BFLOAT16:
        raise BenchError("bfloat16 is a contender of its own, openvino-…-bfloat16")
    if options.precision is not Precision.FLOAT32 and options.provider != "cuda":
        raise BenchError(f"precision {options.precision} needs the provider cuda, found {options.provider}")
    if manifest.conditions:
        raise BenchError(
            f"{manifest.name} makes its weights of {', '.join(manifest.conditions)} too: the bench compares members "
            "with plain networks; time load(…).predict(…), and load(…).materialise(…).predict(…)"
        )
    if not 0 <= options.member < manifest.members:
        raise BenchError(f"member {options.member} does not exist: there are 0 to {manifest.members - 1}")


class _Worker:
    """One contender's process."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", request: Mapping[str, Any]) -> None:
        if process.stdin is None or process.stdout is None:
            raise BenchError(f"the process of {name} was opened without pipes")
        self.name, self._process = name, process
        self._questions, self._answers = process.stdin, process.stdout
        self.ready: dict[str, Any] = self.ask({**request, "contender": name})

    def time(self, batch_size: int) -> float:
        """The seconds of one call.

        Raises:
            BenchError: the contender cannot run that batch, or its process died.
        """
        answer = self.ask(batch_size)
        if isinstance(answer, dict):
            raise BenchError(
                f"{self.name} cannot run a batch of {batch_size}: {answer['error']}; leave that batch size or "
                f"{self.name} out"
            )
        return float(answer)

    def ask(self, question: Any) -> Any:
        """Send a question, wait for the answer."""
        try:
            self._questions.write(json.dumps(question) + "\n")
            self._questions.flush()
            answer = self._answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchError(f"the process of {self.name} died (exit code {self._process.poll()}); is memory short?")
        return json.loads(answer)


@contextmanager
def _cleaned_up() -> Iterator[ExitStack]:
    """A stack of what must not stay behind: no second interrupt cuts its end short."""
    stack = ExitStack()
    try:
        yield stack
    finally:
        with deferred_signals():
            stack.close()


@contextmanager
def _worker(name: str, request: Mapping[str, Any]) -> Iterator[_Worker]:
    with ExitStack() as stack:
        with deferred_signals():  # else an interrupt could fall between its start and what ends it
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-m", "hnexport.bench.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    encoding="utf-8",
                    errors="replace",
                )
            )
            stack.callback(process.kill)
        yield _Worker(name, process, request)


def _time(workers: Mapping[str, _Worker], batch_size: int, options: BenchOptions) -> dict[str, list[float]]:
    """Seconds of each contender in each round, in another order in each round.

    A call that is short is timed the second time: the first one brings the contender's weights back into the caches
    and lets the previous contender's threads fall asleep (they spin for a while after their last task). OpenVINO's are
    given a pause for it besides.
    """
    random = np.random.default_rng(0)
    for worker in workers.values():
        for _ in range(WARM_UP):
            worker.time(batch_size)
    times: dict[str, list[float]] = {name: [] for name in workers}
    names, spent = list(workers), 0.0
    while len(times["plain"]) < options.least_rounds or spent < options.seconds:
        for name in random.permutation(names).tolist():
            time.sleep(PAUSE_SECONDS)
            seconds = workers[name].time(batch_size)
            if seconds < SHORT_SECONDS:
                spent += seconds
                seconds = workers[name].time(batch_size)
            times[name].append(seconds)
            spent += seconds
    return times


def _result(
    name: str, worker: _Worker, times: Mapping[int, Mapping[str, list[float]]], members: int
) -> ContenderResult:
    runs = members if CONTENDERS[name].all_members else 1
    memory = worker.ask(0)
    used = memory.pop("members_used", {})
    timings = []
    for size, by_name in times.items():
        plain_runs = np.array(by_name[name]) / np.array(by_name["plain"])
        ratios = plain_runs / runs
        low, middle, high = (float(value) for value in np.percentile(ratios, (25, 50, 75)))
        timings.append(
            Timing(
                batch_size=size,
                median_ms=1e3 * float(np.median(by_name[name])),
                p95_ms=1e3 * float(np.percentile(by_name[name], 95)),
                ratio=middle,
                ratio_quartiles=(low, high),
                plain_runs=float(np.median(plain_runs)),
                openvino_plain_runs=_openvino_runs(name, by_name),
                members_used=used.get(str(size)),
                rounds=len(ratios),
            )
        )
    return ContenderResult(name=name, timings=tuple(timings), **worker.ready, **memory)


def _openvino_runs(name: str, times: Mapping[str, list[float]]) -> float | None:
    """A contender of OpenVINO beside the plain network there."""
    if not name.startswith("openvino-") or OPENVINO_PLAIN not in times or name == OPENVINO_PLAIN:
        return None
    return float(np.median(np.array(times[name]) / np.array(times[OPENVINO_PLAIN])))
