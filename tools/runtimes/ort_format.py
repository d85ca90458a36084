""".ort: onnxruntime's own format, which its mobile builds read."""

from pathlib import Path

from runtimes import onnxruntime_python
from runtimes.runtime import Runtime


def convert(source: Path, target: Path) -> None:
    """What onnxruntime saves after its own optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


RUNTIME = Runtime(
    name="onnxruntime, .ort",
    file="model.onnx",
    plain="plain.onnx",
    packages=("hnexport-runtime[cpu]",),
    version_of="onnxruntime",
    convert=convert,
    suffix=".ort",
    load=onnxruntime_python.load,
)
