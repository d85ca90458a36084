"""Runs a runtime's module in that runtime's own environment, which has numpy and the runtime.

python -m runtimes.drive MODULE convert SOURCE TARGET [SOURCE TARGET]...
python -m runtimes.drive MODULE predict FILE GOLDEN [MEMBER]   (MEMBER: the file is that member's plain network)
python -m runtimes.drive MODULE measure FILE PLAIN OWN GOLDEN   (PLAIN, OWN: may be empty)
python -m runtimes.drive MODULE resident FILE GOLDEN
"""

import gc
import importlib
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.runtime import Run, Runtime

SECONDS, CALLS = 3.0, 10  # of each measurement, at least
LOADS, LOAD_SECONDS = 5, 2.0  # at most
COPIES = 16  # of a member, for its memory
ENSEMBLES, FURTHER = 8, (1, 2)  # the same where an ensemble keeps its members: these after member 0


def golden_inputs(index: Any, golden: Path) -> list[Any]:
    """The inputs in the order of the signature."""
    return [np.load(golden / item["npy"]) for item in index["inputs"]]


def predict(run: Run, golden: Path, member: str | None) -> None:
    """Write every output where `hnexport golden` says; a member's plain network runs sample by sample."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = golden_inputs(index, golden)
    made: dict[int, list[Any] | None]
    if member is None:
        ids = [*index["members"], *index["unknown_ids"]]
        made = {cond_id: run(np.array(cond_id, np.int64), *inputs) for cond_id in ids}
    else:
        rows = [run(*[array[row : row + 1] for array in inputs]) or [] for row in range(len(index["sample_kinds"]))]
        made = {int(member): [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]}
    for cond_id, outputs in made.items():
        if outputs is None:  # refused
            continue
        for item, output in zip(index["outputs"], outputs, strict=True):
            path = golden / item["npy"].replace("{id}", str(cond_id))
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.asarray(output))


def measure(runtime: Runtime, file: Path, others: dict[str, Path], golden: Path) -> dict[str, Any]:
    """Milliseconds of loading the file, and of one sample through it and through each of the others, in turns."""
    assert runtime.load is not None
    one = first_sample(golden)
    given = one if runtime.member else [np.array(0, np.int64), *one]
    runtime.load(file)  # the libraries are imported and started
    load_ms = load_median(lambda: runtime.load(file))  # type: ignore[misc]
    run = runtime.load(file)
    calls: dict[str, Callable[[], Any]] = {"call_ms": lambda: run(*given)}
    for name, path in others.items():
        calls[name] = bound(runtime.load(path), one)
    return {"version": version(runtime.version_of), "load_ms": load_ms, **in_turns(calls)}


def resident(runtime: Runtime, file: Path, golden: Path) -> dict[str, float]:
    """Memory of each further member: of copies of its file, or in ensembles that keep their members."""
    assert runtime.load is not None
    one, load = first_sample(golden), runtime.load

    def another() -> Run:
        run = load(file)
        run(*one if not runtime.materialised else (np.array(0, np.int64), *one))
        return run

    if runtime.materialised:
        kept = [another() for _ in range(ENSEMBLES)]
        before, count = private_bytes(), ENSEMBLES * len(FURTHER)
        for run in kept:
            for member in FURTHER:
                run(np.array(member, np.int64), *one)
    else:
        kept = [another(), another()]
        before, count = private_bytes(), COPIES
        kept += [another() for _ in range(COPIES)]
    return {"resident_mb": (private_bytes() - before) / count / 1e6}


def first_sample(golden: Path) -> list[Any]:
    """One row of each input."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    return [array[:1] for array in golden_inputs(index, golden)]


def bound(run: Run, arguments: list[Any]) -> Callable[[], Any]:
    """A call of these arguments."""
    return lambda: run(*arguments)


def load_median(load: Callable[[], object]) -> float:
    """Milliseconds, the median of some loads."""
    taken: list[float] = []
    while not taken or (len(taken) < LOADS and sum(taken) < LOAD_SECONDS):
        gc.collect()
        taken.append(seconds_of(load))
    return 1000 * statistics.median(taken)


def in_turns(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The median milliseconds of each, in rounds of any order, so that none always follows the same one."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order, chance = list(calls), random.Random(0)  # noqa: S311
    for name in order:
        calls[name]()
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(taken[order[0]]) < CALLS:
        chance.shuffle(order)
        for name in order:
            taken[name].append(seconds_of(calls[name]))
    return {name: 1000 * statistics.median(times) for name, times in taken.items()}


def seconds_of(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def private_bytes() -> int:
    """Memory that this process alone has; what it maps of files does not count."""
    gc.collect()
    text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    return sum(1024 * int(found) for found in re.findall(r"Private_Dirty: *(\d+) kB", text))


def main() -> None:
    """Do what the arguments say."""
    module, what, *given = sys.argv[1:]
    runtime: Runtime = importlib.import_module(f"runtimes.{module}").RUNTIME
    if what == "convert":
        assert runtime.convert is not None
        for source, target in zip(given[::2], given[1::2], strict=True):
            runtime.convert(Path(source), Path(target))
    elif what == "predict":
        assert runtime.load is not None
        predict(runtime.load(Path(given[0])), Path(given[1]), given[2] if len(given) > 2 else None)
    elif what == "resident":
        print(json.dumps(resident(runtime, Path(given[0]), Path(given[1]))))
    else:
        file, plain, own, golden = given
        others = {name: Path(path) for name, path in {"plain_ms": plain, "own_ms": own}.items() if path}
        print(json.dumps(measure(runtime, Path(file), others, Path(golden))))


if __name__ == "__main__":
    main()
