"""Runs files in Node.js and in Chromium, with the scripts of tests/runtimes.

python -m runtimes.javascript predict node|wasm|webgpu FILE GOLDEN
python -m runtimes.javascript measure node|wasm|webgpu FILE PLAIN OWN GOLDEN   (OWN: may be empty)

A file network.onnx stands for its bundle in the web module (examples/web), which makes members and keeps them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[2] / "tests"
SCRIPTS = TESTS / "runtimes"
PACKAGES = SCRIPTS / "node_modules"
UNPACKED = TESTS / "web" / "node_modules" / ".chromium" / "chrome"
SECONDS, ROUNDS = 3.0, 5  # of a measurement, at least
LIMIT_S = 1100  # of a browser
COPIES = 16  # of a member, for its memory
ENSEMBLES, FURTHER = 8, (1, 2)  # the same where an ensemble keeps its members: these after member 0


def chromium() -> str:
    """The browser: $CHROMIUM, what is installed, or what npm brought."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found and UNPACKED.exists():
        return str(UNPACKED)
    if not found:
        sys.exit("no Chromium: install one (apt-get install chromium) or name it, CHROMIUM=/path/to/chrome")
    return found


def run(where: str, jobs: list[dict[str, Any]], folder: Path, script: str) -> list[dict[str, Any]]:
    """The results of jobs (see tests/runtimes/jobs.mjs and timed.mjs)."""
    asked, results = folder / "jobs.json", folder / "results.json"
    asked.write_text(json.dumps(jobs), encoding="utf-8", newline="\n")
    command = ["node", "--expose-gc", "node.mjs", "onnxruntime-node", asked, results, script]
    if where != "node":
        command = ["node", "browser.mjs", chromium(), asked, results, where, script, LIMIT_S]
    subprocess.run(list(map(str, command)), cwd=SCRIPTS, check=True)
    found: list[dict[str, Any]] = json.loads(results.read_text(encoding="utf-8"))
    for one in found:
        if "error" in one:
            sys.exit(one["error"])
    return found


def contender(where: str, file: Path) -> dict[str, Any]:
    """A file as a job has it; browsers take bytes."""
    if file.name == "network.onnx":
        return {"bundle": str(file.parent)}
    weights = file.with_name("weights.bin")
    external = {weights.name: str(weights)} if file.name == "model.onnx" else {}
    return {"graph": str(file), "external": external, "memory": where != "node"}


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
    """Write every output where `hnexport golden` says; one that is refused has none."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    ids = [*index["members"], *index["unknown_ids"]]
    job, files = contender(where, file), {}
    if "bundle" in job:
        feeds = given(index, golden, folder, None)
        job = {"kind": "predict", **job, "feeds": feeds, "ids": ids, "to": str(folder / "out")}
        (found,) = run(where, [job], folder, "timed.mjs")
        for one in [one for one in ids if one not in found["refused"]]:
            files[one] = {item["name"]: folder / f"out-{one}-{item['name']}.bin" for item in index["outputs"]}
    else:
        calls = [{"feeds": given(index, golden, folder, one), "to": str(folder / f"out{one}")} for one in ids]
        (found,) = run(where, [{**job, "calls": calls}], folder, "jobs.mjs")
        for one, outputs in zip(ids, found["calls"], strict=True):
            files[one] = {name: Path(output["file"]) for name, output in outputs.items()}
    for cond_id, outputs in files.items():
        for item in index["outputs"]:
            path = golden / item["raw"].replace("{id}", str(cond_id))
            path.parent.mkdir(exist_ok=True)
            shutil.copy(outputs[item["name"]], path)


def measure(where: str, file: Path, plain: Path, own: Path | None, golden: Path, folder: Path) -> dict[str, Any]:
    """Milliseconds of loading, and of one sample; and the memory of a member, where it is a matter of this process."""
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    image = given(index, golden, folder, None, 1)
    called = {**contender(where, file), "feeds": image}
    if "graph" in called:
        called["feeds"] = given(index, golden, folder, 0, 1)
    others = {"plain_ms": plain, **({"own_ms": own} if own else {})}
    contenders = [called, *({**contender(where, path), "feeds": image} for path in others.values())]
    jobs: list[dict[str, Any]] = [{"kind": "measure", "contenders": contenders, "seconds": SECONDS, "rounds": ROUNDS}]
    if "bundle" in called:
        jobs.append({"kind": "resident", **called, "copies": ENSEMBLES, "further": FURTHER})
    else:
        jobs.append({"kind": "resident", **contenders[1], "copies": COPIES})
    times, *memory = run(where, jobs if where != "webgpu" else jobs[:1], folder, "timed.mjs")
    name = "onnxruntime-node" if where == "node" else "onnxruntime-web"
    version = json.loads((PACKAGES / name / "package.json").read_text(encoding="utf-8"))["version"]
    return {
        "version": version,
        "load_ms": times["load_ms"],
        **dict(zip(("call_ms", *others), times["call_ms"], strict=True)),
        **({"resident_mb": memory[0]["bytes"] / 1e6} if memory else {}),
    }


def main() -> None:
    """Do what the arguments say."""
    what, where, *paths = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="hnexport-runtimes-") as folder:
        if what == "predict":
            predict(where, Path(paths[0]), Path(paths[1]), Path(folder))
        else:
            file, plain, own, golden = paths
            found = measure(where, Path(file), Path(plain), Path(own) if own else None, Path(golden), Path(folder))
            print(json.dumps(found))


if __name__ == "__main__":
    main()
