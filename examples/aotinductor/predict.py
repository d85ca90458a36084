"""model.pt2 compiled by AOTInductor: every golden sample through every member, written where `hnexport golden` says.

python predict.py BUNDLE GOLDEN COMPILED.pt2
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch


def compile_package(source: Path, target: Path) -> None:
    """Compile for this processor: minutes for a large network, once."""
    program = torch.export.load(source)
    torch._inductor.aoti_compile_and_package(program, package_path=str(target))


def main(bundle: Path, golden: Path, compiled: Path) -> None:
    if not compiled.exists():
        compile_package(bundle / "model.pt2", compiled)
    model = torch._inductor.aoti_load_package(str(compiled))
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = [torch.from_numpy(np.load(golden / item["npy"])) for item in index["inputs"]]
    for member in index["members"] + index["unknown_ids"]:
        outputs = model(torch.tensor(member), *inputs)
        for item, output in zip(index["outputs"], outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
            path = golden / item["npy"].replace("{id}", str(member))
            path.parent.mkdir(exist_ok=True)
            np.save(path, output.numpy())
    (golden / "runtime.txt").write_text(f"AOTInductor, torch {torch.__version__}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
