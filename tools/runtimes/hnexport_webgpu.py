"""hnexport.runtime on onnxruntime's WebGPU provider: members are made once, on the CPU, and kept."""

from dataclasses import replace
from pathlib import Path

from runtimes import hnexport_runtime, onnxruntime_webgpu
from runtimes.runtime import Run


def load(path: Path) -> Run:
    """The bundle of a network.onnx; any other file is a plain network."""
    if path.name != "network.onnx":
        return onnxruntime_webgpu.load(path)
    return hnexport_runtime.materialised(path, "webgpu")


RUNTIME = replace(
    onnxruntime_webgpu.RUNTIME,
    name="hnexport.runtime, Python, WebGPU, materialised",
    file="network.onnx",
    materialised=True,
    version_of="hnexport-runtime",
    load=load,
)
