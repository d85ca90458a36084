"""A contender's own process: it loads, then times one call whenever its parent asks. JSON lines in and out."""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hnexport.machine.memory import peak_bytes, resident_bytes

if TYPE_CHECKING:
    from hnexport.bench.task import BenchTask

__all__ = ["main"]


def main() -> None:
    """Serve the task in the first line of standard input, then batch sizes (0 ends), on standard output."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print goes to standard error
    try:
        _serve(json.loads(sys.stdin.readline()), answers)
    except Exception as error:  # every reason not to run is an answer for the parent
        print(json.dumps({"error": f"{error}"}), file=answers)


def _serve(request: dict[str, Any], answers: Any) -> None:
    from hnexport.bench.contenders import CONTENDERS
    from hnexport.bench.task import BenchTask
    from hnexport.bundle.manifest import read_manifest

    contender = CONTENDERS[request["contender"]]
    for name in contender.imports:
        importlib.import_module(name)
    bundle = Path(request["bundle"])
    task = BenchTask(
        bundle=bundle,
        manifest=read_manifest(bundle),
        plain=Path(request["plain"]),
        member=request["member"],
        provider=request["provider"],
        threads=request["threads"],
        precision=request["precision"],
        cuda=request["cuda"],
        until=request["until"],
    )
    draw = _source(task)
    baseline, start = resident_bytes() or 0, time.perf_counter()
    loaded = contender.load(task)
    ready = {
        "load_seconds": time.perf_counter() - start,
        "baseline_bytes": baseline,
        "runtime": loaded.runtime,
        "disk_bytes": sum(path.stat().st_size for path in loaded.files),
    }
    loaded.run(draw(1))  # what cannot run is known before anything is timed
    print(json.dumps(ready), file=answers)
    used: dict[int, list[float]] = {}
    while batch_size := json.loads(sys.stdin.readline() or "0"):
        inputs = draw(batch_size)
        begin = time.perf_counter()
        found = loaded.run(inputs)
        print(json.dumps(time.perf_counter() - begin), file=answers)
        if (members := getattr(found, "members_used", None)) is not None:
            used.setdefault(batch_size, []).append(float(np.mean(members)))
    end = {"resident_bytes": resident_bytes() or 0, "peak_bytes": peak_bytes() or 0}
    print(json.dumps({**end, "members_used": {size: sum(one) / len(one) for size, one in used.items()}}), file=answers)


def _source(task: "BenchTask") -> Callable[[int], Any]:
    """A function of the size of a batch: what is run next."""
    from hnexport.bench.inputs import draw_inputs, draw_samples
    from hnexport.bench.task import SAMPLES_FILE
    from hnexport.bundle.golden import read_golden

    random, signature = np.random.default_rng(0), task.manifest.signature
    if (task.plain / SAMPLES_FILE).is_file():
        with np.load(task.plain / SAMPLES_FILE, allow_pickle=False) as held:
            samples = dict(held)
        return lambda size: draw_samples(signature, samples, size, random)
    golden = read_golden(task.bundle, task.manifest)
    return lambda size: draw_inputs(signature, golden, size, random)


if __name__ == "__main__":
    main()
