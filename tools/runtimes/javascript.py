"""Runs files in Node.js and in Chromium, with the scripts of tests/runtimes.

python -m runtimes.javascript predict node|wasm|webgpu FILE GOLDEN
python -m runtimes.javascript measure node|wasm|webgpu FILE PLAIN GOLDEN
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[2] / "tests" / "runtimes"
PACKAGES = SCRIPTS / "node_modules"
SECONDS = 3.0
TURNS = 2  # model, plain, model, plain: the quieter of each


def chromium() -> str:
    """The browser: $CHROMIUM, or what is installed."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        sys.exit("no Chromium: install one (apt-get install chromium) or name it, CHROMIUM=/path/to/chrome")
    return found


def run(where: str, jobs: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The results of jobs (see tests/runtimes/jobs.mjs)."""
    asked, results = folder / "jobs.json", folder / "results.json"
    asked.write_text(json.dumps(jobs), encoding="utf-8")
    script = ["node.mjs", "onnxruntime-node"] if where == "node" else ["browser.mjs", chromium()]
    command = ["node", str(SCRIPTS / script[0]), *script[1:], str(asked), str(results)]
    subprocess.run(command if where == "node" else [*command, where], check=True)
    found: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))
    for one in found:
        if "error" in one:
            sys.exit(one["error"])
    return found


def job(where: str, file: Path, calls: list[dict[str, Any]], seconds: float = 0.0) -> dict[str, Any]:
    """One graph and its calls; browsers take bytes."""
    weights = file.with_name("weights.bin")
    external = {weights.name: str(weights)} if file.name == "model.onnx" else {}
    return {"graph": str(file), "external": external, "memory": where != "node", "calls": calls, "seconds": seconds}


def given(index: Any, golden: Path, folder: Path, cond_id: int | None, samples: int | None = None) -> dict[str, Any]:
    """What a call takes: every golden sample, or the first ones."""
    feeds = {}
    for item in index["inputs"]:
        shape, file = list(item["shape"]), golden / item["raw"]
        if samples is not None:
            content = file.read_bytes()
            file = folder / f"{item['name']}.raw"
            file.write_bytes(content[: len(content) // shape[0] * samples])
            shape[0] = samples
        feeds[item["name"]] = {"dtype": item["dtype"], "shape": shape, "file": str(file)}
    if cond_id is not None:
        path = folder / f"id{cond_id}.raw"
        path.write_bytes(cond_id.to_bytes(8, "little", signed=True))
        feeds["cond_id"] = {"dtype": "int64", "shape": [], "file": str(path)}
    return feeds


def predict(where: str, file: Path, golden: Path, folder: Path) -> None:
    """Write every output where `hnexport golden` says."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    ids = [*index["members"], *index["unknown_ids"]]
    calls = [{"feeds": given(index, golden, folder, one), "to": str(folder / f"out{one}")} for one in ids]
    (found,) = run(where, [job(where, file, calls)], folder)
    for cond_id, outputs in zip(ids, found["calls"], strict=True):
        for item in index["outputs"]:
            path = golden / item["raw"].replace("{id}", str(cond_id))
            path.parent.mkdir(exist_ok=True)
            shutil.copy(outputs[item["name"]]["file"], path)


def measure(where: str, file: Path, plain: Path, golden: Path, folder: Path) -> dict[str, Any]:
    """Milliseconds of loading, and of one sample."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    own = [{"feeds": given(index, golden, folder, 0, 1), "to": str(folder / "own")}]
    other = [{"feeds": given(index, golden, folder, None, 1), "to": str(folder / "plain")}]
    jobs = [job(where, plain, other, SECONDS), job(where, file, own, SECONDS)] * TURNS
    found = run(where, jobs, folder)
    name = "onnxruntime-node" if where == "node" else "onnxruntime-web"
    version = json.loads((PACKAGES / name / "package.json").read_text(encoding="utf-8"))["version"]
    return {
        "version": version,
        "load_ms": min(one["load_ms"] for one in found[1::2]),
        "call_ms": min(one["call_ms"] for one in found[1::2]),
        "plain_ms": min(one["call_ms"] for one in found[::2]),
    }


def main() -> None:
    """Do what the arguments say."""
    what, where, *paths = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="hnexport-runtimes-") as folder:
        if what == "predict":
            predict(where, Path(paths[0]), Path(paths[1]), Path(folder))
        else:
            print(json.dumps(measure(where, *map(Path, paths), Path(folder))))  # type: ignore[arg-type,call-arg]


if __name__ == "__main__":
    main()
