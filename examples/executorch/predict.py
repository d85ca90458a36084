"""One member in ExecuTorch with XNNPACK: every golden sample, one a call, written where `hnexport golden` says.

python predict.py MEMBER.pt2 GOLDEN
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime


def lower(program: torch.export.ExportedProgram, target: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # slow, and for this alone
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    target.write_bytes(lowered.buffer)


def main(path: Path, golden: Path) -> None:
    extra = {"hnexport.member": ""}
    program, lowered = torch.export.load(path, extra_files=extra), path.with_suffix(".pte")
    if not lowered.exists():
        lower(program, lowered)
    method = Runtime.get().load_program(lowered).load_method("forward")

    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = [(item["batch"], np.load(golden / item["npy"])) for item in index["inputs"]]
    rows = []
    for sample in range(len(index["sample_kinds"])):
        given = [torch.from_numpy(array[sample : sample + 1] if batch else array) for batch, array in inputs]
        rows.append([output.numpy().copy() for output in method.execute(given)])
    for item, outputs in zip(index["outputs"], zip(*rows, strict=True), strict=True):
        target = golden / item["npy"].replace("{id}", extra["hnexport.member"])
        target.parent.mkdir(exist_ok=True)
        np.save(target, np.concatenate(outputs))
    (golden / "runtime.txt").write_text("ExecuTorch, XNNPACK")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
