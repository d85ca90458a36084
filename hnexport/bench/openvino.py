"""OpenVINO on the CPU: the plain network, a materialised member, and the conditional graph."""

from typing import Any

import numpy as np

from hnexport.bench.contenders import BenchTask, Loaded
from hnexport.errors import ProviderError

__all__ = ["load_openvino"]


def load_openvino(task: BenchTask, kind: str, precision: str) -> Loaded:
    """Load `kind` (plain, materialised, generated) with the inference precision `f32` or `bf16`.

    Raises:
        ProviderError: another provider than the CPU was asked for.
    """
    import openvino

    if task.provider != "cpu":
        raise ProviderError("OpenVINO is timed on the CPU only")
    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": task.threads}
    files = {
        "plain": (task.plain / "plain.onnx", task.plain / "plain.bin"),
        "generated": (task.bundle / "model.onnx", task.bundle / "weights.bin"),
        "materialised": (task.bundle / "model.onnx", task.bundle / "weights.bin"),
    }[kind]
    model = core.read_model(files[0])
    if kind == "materialised":  # the member becomes a constant, and folds with all that depends on it alone
        cond_id = model.input("cond_id").get_node()
        constant = openvino.opset13.constant(np.array(task.member, dtype=np.int64))
        for target in cond_id.output(0).get_target_inputs():
            target.replace_source_output(constant.output(0))
        model.remove_parameter(cond_id)
    request = core.compile_model(model, "CPU", config).create_infer_request()
    feed: dict[str, Any] = {"cond_id": np.array(task.member, dtype=np.int64)} if kind == "generated" else {}
    version = openvino.get_version().partition("-")[0]
    return Loaded(
        runtime=f"openvino {version} cpu {precision}",
        run=lambda images: request.infer({**feed, "image": images}),
        files=files,
    )
