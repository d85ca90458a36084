"""onnxruntime-web in headless Chromium, wasm."""

from runtimes.chromium import in_chromium

RUNTIME = in_chromium(name="onnxruntime-web, Chromium, wasm", file="model.onnx", provider="wasm")
