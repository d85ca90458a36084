"""onnxruntime's WebGPU provider from Python, over the software Vulkan that Debian's package chromium brings."""

import os
from pathlib import Path

from runtimes.runtime import Run, Runtime

CHROMIUM = Path("/usr/lib/chromium")
DRIVER = CHROMIUM / "vk_swiftshader_icd.json"
FOUND = "VK_DRIVER_FILES" in os.environ or DRIVER.is_file()
LIBRARIES = ":".join(filter(None, (str(CHROMIUM), os.environ.get("LD_LIBRARY_PATH"))))


def load(path: Path) -> Run:
    """A session on WebGPU."""
    from hnexport.runtime.providers import open_session
    from hnexport.runtime.session_options import session_options

    session = open_session(path, session_options(1), "webgpu")
    names = [item.name for item in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))


RUNTIME = Runtime(
    name="onnxruntime-webgpu, Python",
    file="model.onnx",
    plain="plain.onnx",
    packages=("hnexport-runtime", "onnxruntime-webgpu"),
    variables={} if "VK_DRIVER_FILES" in os.environ else {"VK_DRIVER_FILES": str(DRIVER), "LD_LIBRARY_PATH": LIBRARIES},
    version_of="onnxruntime-webgpu",
    load=load,
    not_run="" if FOUND else "not run: no Vulkan driver here (Debian's package chromium has one)",
    remark="a software GPU",
)
