"""onnxruntime-web in headless Chromium, wasm."""

from runtimes.runtime import Runtime

RUNTIME = Runtime(
    name="onnxruntime-web, Chromium, wasm",
    file="model.onnx",
    plain="plain.onnx",
    tools=("node", "npm"),
    predict=("{python}", "-m", "runtimes.javascript", "predict", "wasm", "{bundle}/{file}", "{golden}"),
    measure=("{python}", "-m", "runtimes.javascript", "measure", "wasm", "{bundle}/{file}", "{plain}", "{golden}"),
)
