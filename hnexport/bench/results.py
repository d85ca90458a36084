"""What a benchmark found."""

from collections.abc import Mapping
from dataclasses import dataclass

from hnexport.runtime.cuda import CudaOptions

__all__ = ["BenchReport", "ContenderResult", "Timing"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One contender at one batch size.

    Attributes:
        batch_size: samples of one call.
        median_ms: of one call: half of them were quicker.
        p95_ms: of one call: 19 of 20 were quicker.
        ratio: median over the rounds of this contender's time over the plain network's in the same
            round. An ensemble is compared with as many plain runs as it has members.
        ratio_quartiles: the first and the third quartile of those ratios.
        plain_runs: the same ratio to one run of the plain network, also of an ensemble.
        openvino_plain_runs: likewise to OpenVINO's plain network, of OpenVINO's contenders where that ran; else None.
        members_used: how many members a sample took in the mean, where a rule says when they are enough; else None.
        rounds: interleaved rounds that were timed.
    """

    batch_size: int
    median_ms: float
    p95_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    plain_runs: float
    openvino_plain_runs: float | None
    members_used: float | None
    rounds: int


@dataclass(frozen=True, kw_only=True)
class ContenderResult:
    """One contender.

    Attributes:
        name: as `--against` has it.
        runtime: what ran it, with version and provider.
        load_seconds: from the files to ready for the first prediction, libraries already imported.
        resident_bytes: of its process after all runs, libraries included; 0 where the system does not say.
        baseline_bytes: resident size after importing its libraries, before loading anything.
        peak_bytes: of its process, the largest it was; 0 where the system does not say.
        disk_bytes: the files it needs.
        timings: one for each batch size.
    """

    name: str
    runtime: str
    load_seconds: float
    baseline_bytes: int
    resident_bytes: int
    peak_bytes: int
    disk_bytes: int
    timings: tuple[Timing, ...]


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """A benchmark of a bundle.

    Attributes:
        bundle: its name.
        members: how many it has.
        provider: where onnxruntime's contenders ran.
        precision: "float32", "tf32" or "float16".
        cuda: how onnxruntime's contenders used CUDA; None on another provider.
        until: when those that stop early did, in words.
        samples: where what was run comes from; None where it was drawn.
        threads: with which every contender computed.
        batch_sizes: those that were timed.
        contenders: what was timed, the plain network first.
        not_run: why a contender did not run, by name.
        environment: versions, processor, threads.
    """

    bundle: str
    members: int
    provider: str
    precision: str
    cuda: CudaOptions | None
    until: str
    samples: str | None
    threads: int
    batch_sizes: tuple[int, ...]
    contenders: tuple[ContenderResult, ...]
    not_run: Mapping[str, str]
    environment: Mapping[str, str]
