"""OpenVINO from Python, in float32: by itself it takes bfloat16 where the processor has it."""

from pathlib import Path

from runtimes.runtime import Run, Runtime


def load(path: Path) -> Run:
    """A compiled model with one thread."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda *arrays: [output.copy() for output in model(list(arrays)).values()]


RUNTIME = Runtime(
    name="OpenVINO, Python, f32",
    file="model.onnx",
    plain="plain.onnx",
    packages=("numpy", "openvino"),
    version_of="openvino",
    load=load,
)
