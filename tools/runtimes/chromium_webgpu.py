"""onnxruntime-web in headless Chromium, WebGPU."""

from runtimes.chromium import in_chromium

RUNTIME = in_chromium(name="onnxruntime-web, Chromium, WebGPU", file="model.onnx", provider="webgpu")
