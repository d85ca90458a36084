"""onnxruntime-web in headless Chromium, WebGPU."""

from runtimes.runtime import Runtime

RUNTIME = Runtime(
    name="onnxruntime-web, Chromium, WebGPU",
    file="model.onnx",
    plain="plain.onnx",
    tools=("node", "npm"),
    predict=("{python}", "-m", "runtimes.javascript", "predict", "webgpu", "{bundle}/{file}", "{golden}"),
    measure=("{python}", "-m", "runtimes.javascript", "measure", "webgpu", "{bundle}/{file}", "{plain}", "{golden}"),
    remark="a software GPU",
)
