"""The web page's module (examples/web) in headless Chromium, WebGPU."""

from runtimes.chromium import in_chromium

RUNTIME = in_chromium(name="hnexport-web, Chromium, WebGPU, materialised", file="network.onnx", provider="webgpu")
