"""onnxruntime-web in headless Chromium, and the web page's module there."""

from runtimes.runtime import Runtime

COMMAND = ("{python}", "-m", "runtimes.javascript")


def in_chromium(*, name: str, file: str, provider: str) -> Runtime:
    """A runtime there, by a file of the bundle; network.onnx stands for the module, which keeps members."""
    by_wasm = provider == "wasm"
    return Runtime(
        name=name,
        file=file,
        plain="plain.onnx",
        own="own.onnx" if by_wasm else "",
        exporter="torch.onnx.export",
        tools=("node", "npm"),
        materialised=file == "network.onnx",
        predict=(*COMMAND, "predict", provider, "{bundle}/{file}", "{golden}"),
        measure=(*COMMAND, "measure", provider, "{bundle}/{file}", "{plain}", "{own}", "{golden}"),
        remark="" if by_wasm else "a software GPU",
    )
