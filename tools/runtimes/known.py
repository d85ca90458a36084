"""The runtimes, in the order of the table: the names of their modules."""

NAMES = (
    "onnxruntime_python",
    "onnxruntime_node",
    "chromium_wasm",
    "chromium_webgpu",
    "cpp_libtorch",
    "torch_export",
    "aotinductor",
    "openvino_python",
    "cpp_openvino",
    "executorch_python",
    "ort_format",
    "mlflow_onnx",
    "ray_actors",
    "tract_python",
    "iree_python",
    "cpp_onnxruntime",
    "ncnn_python",
    "coreml_conversion",
    "tensorrt_python",
)
