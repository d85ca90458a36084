"""Runs a runtime's module in that runtime's own environment, which has numpy and the runtime.

python -m runtimes.drive MODULE convert SOURCE TARGET
python -m runtimes.drive MODULE predict FILE GOLDEN [MEMBER]   (MEMBER: the file is that member's plain network)
python -m runtimes.drive MODULE measure FILE PLAIN GOLDEN
"""

import importlib
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.runtime import Run, Runtime

SECONDS, CALLS = 3.0, 10  # of each measurement, at least


def golden_inputs(index: Any, golden: Path) -> list[Any]:
    """The inputs in the order of the signature."""
    return [np.load(golden / item["npy"]) for item in index["inputs"]]


def predict(run: Run, golden: Path, member: str | None) -> None:
    """Write every output where `hnexport golden` says; a member's plain network runs sample by sample."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = golden_inputs(index, golden)
    if member is None:
        ids = [*index["members"], *index["unknown_ids"]]
        made = {cond_id: run(np.array(cond_id, np.int64), *inputs) for cond_id in ids}
    else:
        rows = [run(*[array[row : row + 1] for array in inputs]) for row in range(len(index["sample_kinds"]))]
        made = {int(member): [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]}
    for cond_id, outputs in made.items():
        for item, output in zip(index["outputs"], outputs, strict=True):
            path = golden / item["npy"].replace("{id}", str(cond_id))
            path.parent.mkdir(exist_ok=True)
            np.save(path, np.asarray(output))


def measure(runtime: Runtime, file: Path, plain: Path | None, golden: Path) -> dict[str, Any]:
    """Milliseconds of loading and, in turns, of one sample through the file and through a plain network."""
    assert runtime.load is not None
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = [array[:1] for array in golden_inputs(index, golden)]
    plain_run = runtime.load(plain) if plain else None
    if plain_run is None:
        runtime.load(file)  # once before, as its libraries are loaded too
    start = time.perf_counter()
    run = runtime.load(file)
    loaded = time.perf_counter() - start
    given = inputs if runtime.member else [np.array(0, np.int64), *inputs]
    times: tuple[list[float], list[float]] = ([], [])
    calls = [(run, given, times[0])] + ([(plain_run, inputs, times[1])] if plain_run else [])
    for one, arguments, _ in calls:
        one(*arguments)
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(times[0]) < CALLS:
        for one, arguments, taken in calls:
            begun = time.perf_counter()
            one(*arguments)
            taken.append(time.perf_counter() - begun)
    call, other = (1000 * statistics.median(taken) if taken else None for taken in times)
    return {"version": version(runtime.version_of), "load_ms": 1000 * loaded, "call_ms": call, "plain_ms": other}


def main() -> None:
    """Do what the arguments say."""
    module, what, *given = sys.argv[1:]
    runtime: Runtime = importlib.import_module(f"runtimes.{module}").RUNTIME
    if what == "convert":
        assert runtime.convert is not None
        runtime.convert(Path(given[0]), Path(given[1]))
    elif what == "predict":
        assert runtime.load is not None
        predict(runtime.load(Path(given[0])), Path(given[1]), given[2] if len(given) > 2 else None)
    else:
        print(json.dumps(measure(runtime, Path(given[0]), Path(given[1]) if given[1] else None, Path(given[2]))))


if __name__ == "__main__":
    main()
