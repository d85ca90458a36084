"""In a child process over the stub: which of a folder's ONNX files have every node on CUDA. JSON: reasons by file."""

import json
import sys
from pathlib import Path

import onnxruntime

from hnexport.bundle.manifest import read_manifest
from hnexport.errors import ProviderError
from hnexport.runtime.cuda import CudaOptions
from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
from hnexport.runtime.providers import open_session


def place(path: Path, *, graph: bool) -> str:
    """Why the file cannot be opened with the CPU forbidden; "" where it can."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if path.name == "network.onnx":
        weights = OnnxruntimeEngine(path.parent, read_manifest(path.parent), "cpu", 1).weights(0)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
    try:
        open_session(path, options, "cuda", CudaOptions(graph=graph).provider_options(tf32=False))
    except ProviderError as error:
        return f"{error.__cause__ or error}"
    return ""


def main() -> None:
    """`place.py GRAPH FILE…`, where GRAPH is 1 or 0."""
    graph, *files = sys.argv[1:]
    sys.stdout.write(json.dumps({Path(file).name: place(Path(file), graph=graph == "1") for file in files}))


if __name__ == "__main__":
    main()
