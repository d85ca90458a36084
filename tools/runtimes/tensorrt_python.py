"""TensorRT, by the example, which wants a GPU: that it starts, and that its file is valid, is all that is checked."""

from runtimes.runtime import Runtime

_CHECK = "import sys, onnx; onnx.checker.check_model(sys.argv[1], full_check=True)"

RUNTIME = Runtime(
    name="TensorRT",
    file="plain.onnx",
    plain="plain.onnx",
    member=True,
    prepare=(
        ("{python}", "{examples}/tensorrt/predict.py", "--help"),
        ("{python}", "-c", _CHECK, "{plain}"),
    ),
    conversion="written, not run: no GPU",
)
