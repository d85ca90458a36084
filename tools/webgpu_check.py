"""Every member on onnxruntime's WebGPU provider, on a machine without a GPU too: its kernels over a software Vulkan.

    python -m venv webgpu
    webgpu/bin/pip install ./tools/packaging/runtime onnxruntime-webgpu
    webgpu/bin/python tools/webgpu_check.py BUNDLE [--json]

`onnxruntime-webgpu` has no software device of its own. Debian's package `chromium` brings one, SwiftShader, and the
Vulkan loader; they are taken where nothing else is set (`VK_DRIVER_FILES`). Exit code 0: every member agrees with the
float64 golden samples, and no materialised node ran on the CPU; 1: not so; 2: there is no device.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/lib/chromium")
DRIVER = CHROMIUM / "vk_swiftshader_icd.json"
LIMIT = 1e-5  # relative L2 of a row, as verify's
UNKNOWN = (2**31, 2**32 + 1, 2**40)


def with_software_gpu() -> None:
    """Start again with SwiftShader, since the dynamic loader reads its path when a process starts."""
    if "VK_DRIVER_FILES" in os.environ or not DRIVER.is_file():
        return
    libraries = ":".join(filter(None, (str(CHROMIUM), os.environ.get("LD_LIBRARY_PATH"))))
    environment = {**os.environ, "VK_DRIVER_FILES": str(DRIVER), "LD_LIBRARY_PATH": libraries}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606


def main() -> int:
    """Check a bundle and print what was found."""
    parser = argparse.ArgumentParser(description="Every member of a bundle on onnxruntime's WebGPU provider.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    with_software_gpu()
    from hnexport.errors import HnexportError  # imported when the right libraries can be found

    try:
        found = check(given.bundle)
    except HnexportError as error:
        print(error, file=sys.stderr)
        return 2
    if given.as_json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")
    worst = max(found["generated"], found["materialised"])
    return 0 if worst <= LIMIT and not found["materialised_nodes_on_the_cpu"] else 1


def check(bundle: Path) -> dict[str, Any]:
    """Largest relative L2 error of a row over all members, generated and materialised, and what goes wrong how.

    Raises:
        HnexportError: the bundle cannot be read, or there is no device.
    """
    import numpy as np
    import onnxruntime

    from hnexport.bundle.golden import read_golden
    from hnexport.bundle.manifest import read_manifest
    from hnexport.names import COND_ID, MODEL_FILE, NETWORK_FILE
    from hnexport.rows import relative_l2
    from hnexport.runtime.onnxruntime_engine import OnnxruntimeEngine
    from hnexport.runtime.providers import open_session

    manifest = read_manifest(bundle)
    golden, name = read_golden(bundle, manifest), manifest.outputs[0].name

    def run(session: Any, member: int | None, inputs: dict[str, Any]) -> Any:
        feed = inputs if member is None else {COND_ID: np.array(member, np.int64), **inputs}
        return session.run([name], feed)[0]

    def error(logits: Any, row: int) -> float:
        return float(relative_l2(logits, golden.outputs[name][row]).max())

    model = open_session(bundle / MODEL_FILE, profiled("model"), "webgpu")
    inputs = dict(golden.inputs)
    members = golden.members.tolist()
    generated = max(error(run(model, member, inputs), row) for row, member in enumerate(members))
    one = {key: value[:1] for key, value in inputs.items()}
    ids = {str(i): bool(np.isnan(run(model, i, one)).all()) for i in (-1, manifest.members, *UNKNOWN)}
    nan = {key: np.full_like(value, np.nan) if value.dtype.kind == "f" else value for key, value in one.items()}
    nan_gives = "NaN" if np.isnan(run(model, members[0], nan)).all() else "numbers"
    engine, materialised, on_cpu = OnnxruntimeEngine(bundle, manifest, "cpu", 1), 0.0, 0
    for row, member in enumerate(members):
        weights, options = engine.weights(member), profiled("network")
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
        network = open_session(bundle / NETWORK_FILE, options, "webgpu", proving=True)
        materialised = max(materialised, error(run(network, None, inputs), row))
        on_cpu += nodes(network).get("CPUExecutionProvider", 0)
    return {
        "onnxruntime": onnxruntime.__version__,
        "members": members,
        "generated": generated,
        "materialised": materialised,
        "ids_that_give_nan": ids,
        "a_nan_image_gives": nan_gives,
        "model_nodes": nodes(model),
        "materialised_nodes_on_the_cpu": on_cpu,
    }


def profiled(name: str) -> Any:
    """Session options with which onnxruntime says where each node ran."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(FOLDER.name) / name)
    return options


def nodes(session: Any) -> dict[str, int]:
    """How many nodes ran on each provider."""
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = {(e["name"], e["args"]["provider"]) for e in events if e.get("cat") == "Node" and e["args"].get("provider")}
    return {provider: sum(where == provider for _, where in ran) for provider in sorted({where for _, where in ran})}


FOLDER = tempfile.TemporaryDirectory()

if __name__ == "__main__":
    sys.exit(main())
