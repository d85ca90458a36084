"""Parts by actors of Ray Data, on this machine or on a cluster: each loads the bundle once and has one thread."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hnexport.errors import RuntimeInputError
from hnexport.installed import require_extra
from hnexport.machine.processor import usable_processors
from hnexport.runtime.options import Strategy
from hnexport.runtime.validation import require_count
from hnexport.score.options import ScoreOptions
from hnexport.score.plan import Part
from hnexport.score.scorer import Job, Scorer
from hnexport.spelling import spelled
from hnexport.text import shorten

__all__ = ["RayWorkers", "contents_by_ray", "for_ray"]

_STORE_BYTES = 2**28  # of a local run: parts are small
_TRIES = 3
_OUR_ERROR = re.compile(r"hnexport(\.\w+)+: ")
_GPU = ("cuda", "tensorrt", "tensorrt-rtx", "migraphx")


@dataclass(frozen=True, kw_only=True)
class RayWorkers:
    """Who computes.

    Attributes:
        address: of a running cluster, as `ray.init` takes it ("auto", "ray://HOST:10001"); None starts Ray here.
        actors: how many; None takes one for each core of the cluster, or for each GPU where they compute on GPUs.

    Raises:
        RuntimeInputError: `actors` is no whole number above 0.
    """

    address: str | None = None
    actors: int | None = None

    def __post_init__(self) -> None:
        if self.actors is not None:
            require_count("actors", self.actors)


class _Actor:
    """Loads once, then scores part after part."""

    def __init__(self, job: Job) -> None:
        self._scorer: Scorer = job.open(threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import pyarrow as pa

        parts = [
            Part(number=int(number), start=int(start), stop=int(stop))
            for number, start, stop in zip(batch["number"], batch["start"], batch["stop"], strict=True)
        ]
        contents = pa.array([self._scorer.content(part) for part in parts], pa.large_binary())
        return {"number": batch["number"], "content": contents}


def for_ray(options: ScoreOptions) -> ScoreOptions:
    """The options of actors: nobody may know what `auto` would be for each of them, so it is the same for all."""
    provider = "cpu" if options.provider == "auto" else options.provider
    own = Strategy.MATERIALISED if provider == "cpu" else Strategy.GENERATED
    return replace(options, provider=provider, strategy=options.strategy or own.value)


def contents_by_ray(job: Job, parts: Sequence[Part], workers: RayWorkers) -> Iterator[tuple[Part, bytes]]:
    """Every part with its file's bytes, in whatever order they come; the job's options are `for_ray`.

    Raises:
        RuntimeInputError: an actor failed; its message.
        IncompleteError: Ray is not installed.
    """
    require_extra("Ray", "ray", "ray")
    import ray

    on_gpu = job.options.provider in _GPU
    known = {part.number: part for part in parts}
    with _connected(workers):
        unit = "GPU" if on_gpu else "CPU"
        actors = workers.actors or int(ray.cluster_resources().get(unit, 1))  # type: ignore[no-untyped-call]
        data = ray.data.from_items(
            [{"number": one.number, "start": one.start, "stop": one.stop} for one in parts],
            override_num_blocks=len(parts),
        ).map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(parts))),
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
        )
        try:
            for row in data.iter_rows():
                yield known[row["number"]], row["content"]
        except ray.exceptions.RayError as error:
            raise RuntimeInputError(f"a worker of Ray failed: {_reason(error)}") from error


@contextmanager
def _connected(workers: RayWorkers) -> Iterator[None]:
    """Ray as the process has it already, or else for as long as this lasts."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield
        return
    _start(workers)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _start(workers: RayWorkers) -> None:
    """Start Ray here, or connect to where it runs. On a busy machine it may take longer to start than it waits."""
    import ray

    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    here: dict[str, Any] = {"object_store_memory": _STORE_BYTES, "include_dashboard": False}
    for left in reversed(range(_TRIES if workers.address is None else 1)):
        try:
            if workers.address is None:
                ray.init("local", num_cpus=workers.actors or usable_processors(), **here, **quiet)
            else:
                ray.init(workers.address, **quiet)
        except Exception as error:  # it raises bare ones too
            ray.shutdown()
            if not left:
                address = spelled("the address", "--address")
                remedy = f"; is it running there? Without {address} one is started here" * (workers.address is not None)
                raise RuntimeInputError(f"Ray could not be reached: {shorten(error)}{remedy}") from error
        else:
            return


def _reason(error: BaseException) -> str:
    """What an actor said, the last line of its trace; our own errors without their names."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return shorten(_OUR_ERROR.sub("", lines[-1]) if lines else type(error).__name__)
