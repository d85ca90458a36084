"""tract, a runtime in Rust, from Python."""

from pathlib import Path

from runtimes.runtime import Run, Runtime


def load(path: Path) -> Run:
    """A runnable model, which takes its inputs in order."""
    import tract

    model = tract.onnx().load(str(path)).into_model().into_runnable()
    return lambda *arrays: [value.to_numpy() for value in model.run(list(arrays))]


RUNTIME = Runtime(
    name="tract",
    file="model.onnx",
    plain="plain.onnx",
    packages=("numpy", "tract"),
    version_of="tract",
    load=load,
)
