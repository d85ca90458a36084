"""One member in TensorRT: every golden sample, written where `hnexport golden` says.

python predict.py MEMBER.onnx GOLDEN MEMBER
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np


def build_engine(path: Path, inputs: dict[str, np.ndarray]) -> Any:
    """An engine for these shapes, on the GPU that is there."""
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise SystemExit("\n".join(str(parser.get_error(number)) for number in range(parser.num_errors)))
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.clear_flag(trt.BuilderFlag.TF32)
    for name, array in inputs.items():
        profile.set_shape(name, array.shape, array.shape, array.shape)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit("TensorRT builds no engine: see its messages above")
    return trt.Runtime(logger).deserialize_cuda_engine(plan)


def run(engine: Any, inputs: dict[str, np.ndarray], outputs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The outputs by name; PyTorch holds the buffers."""
    import torch

    context = engine.create_execution_context()
    held = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
    for name, tensor in held.items():
        context.set_input_shape(name, tuple(tensor.shape))
    for item in outputs:
        held[item["name"]] = torch.empty(item["shape"], dtype=getattr(torch, item["dtype"]), device="cuda")
    for name, tensor in held.items():
        context.set_tensor_address(name, tensor.data_ptr())
    context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
    torch.cuda.synchronize()
    return {item["name"]: held[item["name"]].cpu().numpy() for item in outputs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("onnx", type=Path)
    parser.add_argument("golden", type=Path)
    parser.add_argument("member", type=int)
    given = parser.parse_args()
    index = json.loads((given.golden / "golden.json").read_text(encoding="utf-8"))
    inputs = {item["name"]: np.load(given.golden / item["npy"]) for item in index["inputs"]}
    found = run(build_engine(given.onnx, inputs), inputs, index["outputs"])
    for item in index["outputs"]:
        path = given.golden / item["npy"].replace("{id}", str(given.member))
        path.parent.mkdir(exist_ok=True)
        np.save(path, found[item["name"]])
    (given.golden / "runtime.txt").write_text("TensorRT")


if __name__ == "__main__":
    main()
