"""OpenVINO from C++, by the example; headers and libraries are those of the wheel."""

from runtimes.cpp import cpp_runtime

RUNTIME = cpp_runtime(
    "cpp_openvino",
    name="OpenVINO, C++, f32",
    file="model.onnx",
    plain="plain.onnx",
    prefix="import openvino; print(openvino.__path__[0] + '/cmake')",
    packages=("numpy", "openvino"),
)
