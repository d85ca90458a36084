"""model.onnx in plain onnxruntime: every golden sample through every member, written where `hnexport golden` says.

python predict.py BUNDLE GOLDEN
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


def main(bundle: Path, golden: Path) -> None:
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = {item["name"]: np.load(golden / item["npy"]) for item in index["inputs"]}
    names = [item["name"] for item in index["outputs"]]
    session = ort.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    for member in index["members"] + index["unknown_ids"]:
        outputs = session.run(names, {"cond_id": np.array(member, np.int64), **inputs})
        for item, output in zip(index["outputs"], outputs, strict=True):
            path = golden / item["npy"].replace("{id}", str(member))
            path.parent.mkdir(exist_ok=True)
            np.save(path, output)
    (golden / "runtime.txt").write_text(f"onnxruntime {ort.__version__}, Python")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
