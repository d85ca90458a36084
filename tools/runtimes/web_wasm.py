"""The web page's module (examples/web) in headless Chromium, wasm."""

from runtimes.chromium import in_chromium

RUNTIME = in_chromium(name="hnexport-web, Chromium, wasm, materialised", file="network.onnx", provider="wasm")
