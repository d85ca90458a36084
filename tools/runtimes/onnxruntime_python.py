"""onnxruntime from Python, by the example, in the environment of hnexport-runtime alone."""

from pathlib import Path

from runtimes.runtime import Run, Runtime


def load(path: Path) -> Run:
    """A session on the CPU with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))


RUNTIME = Runtime(
    name="onnxruntime, Python",
    file="model.onnx",
    plain="plain.onnx",
    own="own.onnx",
    exporter="torch.onnx.export",
    resident=True,
    packages=("hnexport-runtime[cpu]",),
    version_of="onnxruntime",
    load=load,
    predict=("{python}", "{examples}/python/predict.py", "{bundle}", "{golden}"),
)
