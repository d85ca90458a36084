"""Runtimes that load a bundle's ONNX files as their users do: each runs jobs, and knows nothing of hnexport.

A job is a graph and calls of it. What a call takes and gives lies in raw files, so that any language can run it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]
Feeds = Mapping[str, Array]
SCRIPTS = Path(__file__).parents[1] / "runtimes"
CPU = ["CPUExecutionProvider"]


class RefusedError(Exception):
    """The runtime does not take the graph; its own words."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A graph and what to call it with.

    Attributes:
        external: the files beside the graph by the names that it gives them, for runtimes that load from memory.
        memory: hand over bytes instead of a path.
    """

    graph: Path
    calls: list[Feeds]
    external: Mapping[str, Path] = field(default_factory=dict)
    memory: bool = False


Outputs = list[dict[str, Array]]
Runtime = Callable[[Job, Path], Outputs]
"""Runs a job with a folder for files, and gives the outputs of each call by name; raises RefusedError."""


def in_onnxruntime(job: Job, folder: Path) -> Outputs:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        if job.memory:
            held = {name: path.read_bytes() for name, path in job.external.items()}
            options.add_external_initializers_from_files_in_memory(
                list(held), list(held.values()), [len(content) for content in held.values()]
            )
            session = onnxruntime.InferenceSession(job.graph.read_bytes(), options, providers=CPU)
        else:
            session = onnxruntime.InferenceSession(job.graph, options, providers=CPU)
    except Exception as error:
        raise RefusedError(str(error)) from error
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, dict(feeds)), strict=True)) for feeds in job.calls]


def in_tract(job: Job, folder: Path) -> Outputs:
    import onnx
    import tract

    graph = onnx.load(job.graph, load_external_data=False).graph
    held = {initializer.name for initializer in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in held]
    outputs = [value.name for value in graph.output]
    try:
        model = tract.onnx().load(str(job.graph)).into_model().into_runnable()
    except tract.TractError as error:
        raise RefusedError(str(error)) from error
    found = []
    for feeds in job.calls:
        values = model.run([np.asarray(feeds[name], order="C") for name in inputs])
        found.append({name: value.to_numpy() for name, value in zip(outputs, values, strict=True)})
    return found


def in_javascript(*command: str) -> Runtime:
    """In a script of tests/runtimes, with the packages that `make runtimes-test` installs there."""

    def run(job: Job, folder: Path) -> Outputs:
        folder.mkdir(parents=True, exist_ok=True)
        calls = [
            {"feeds": _written(feeds, folder / f"in{number}"), "to": str(folder / f"out{number}")}
            for number, feeds in enumerate(job.calls)
        ]
        described = {
            "graph": str(job.graph),
            "external": {name: str(path) for name, path in job.external.items()},
            "memory": job.memory,
            "calls": calls,
        }
        (folder / "jobs.json").write_text(json.dumps([described]), encoding="utf-8")
        done = subprocess.run(
            ["node", str(SCRIPTS / command[0]), *command[1:], str(folder / "jobs.json"), str(folder / "results.json")],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        (result,) = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        if "error" in result:
            raise RefusedError(result["error"])
        return [{name: _read(value) for name, value in call.items()} for call in result["calls"]]

    return run


def chromium() -> str:
    """The browser: $CHROMIUM, or what is installed."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no Chromium: install one (apt-get install chromium) or name it, CHROMIUM=/path/to/chrome"
    return found


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "onnxruntime": lambda: in_onnxruntime,
    "tract": lambda: in_tract,
    "onnxruntime-node": lambda: in_javascript("node.mjs", "onnxruntime-node"),
    "onnxruntime-web": lambda: in_javascript("node.mjs", "onnxruntime-web"),
    "onnxruntime-web in Chromium": lambda: in_javascript("browser.mjs", chromium()),
}
FROM_PIP = ("onnxruntime", "tract")
FROM_MEMORY_ALONE = ("onnxruntime-web", "onnxruntime-web in Chromium")
NEVER_FROM_MEMORY = ("tract",)


def limit_of(runtime: str, graph: Path) -> str:
    """What a runtime says of a graph with something that it does not know; empty where it has no reason to refuse."""
    if runtime != "tract":
        return ""
    import onnx

    found = onnx.load(graph, load_external_data=False).graph
    if any(node.op_type == "Loop" for node in found.node):
        return "Unimplemented(Loop)"
    return ""


@contextmanager
def refused() -> Iterator[list[str]]:
    """Passes where the body is refused, and says why; fails where it is not."""
    why: list[str] = []
    try:
        yield why
    except RefusedError as error:
        why.append(str(error))
        return
    raise AssertionError("the runtime took it")


def _written(feeds: Feeds, start: Path) -> dict[str, dict[str, Any]]:
    described = {}
    for number, (name, array) in enumerate(feeds.items()):
        path = start.with_name(f"{start.name}-{number}.bin")
        path.write_bytes(np.ascontiguousarray(array).tobytes())
        described[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "file": str(path)}
    return described


def _read(value: Mapping[str, Any]) -> Array:
    return np.frombuffer(Path(value["file"]).read_bytes(), dtype=value["dtype"]).reshape(value["shape"])
