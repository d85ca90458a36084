"""TensorRT, by the example, which is not run: it wants a GPU."""

from runtimes.runtime import Runtime

RUNTIME = Runtime(name="TensorRT", file="plain.onnx", member=True, not_run="written, not run: no GPU")
