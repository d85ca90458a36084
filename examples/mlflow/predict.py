"""model.onnx as an MLflow model: every golden sample through every member, written where `hnexport golden` says.

python predict.py BUNDLE GOLDEN MODEL
"""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import onnx


def main(bundle: Path, golden: Path, saved: Path) -> None:
    if not saved.exists():
        mlflow.onnx.save_model(onnx.load(bundle / "model.onnx"), str(saved))  # or log_model, in a run
    model = mlflow.pyfunc.load_model(str(saved))
    index = json.loads((golden / "golden.json").read_text(encoding="utf-8"))
    inputs = {item["name"]: np.load(golden / item["npy"]) for item in index["inputs"]}
    for member in index["members"] + index["unknown_ids"]:
        outputs = model.predict({"cond_id": np.array(member, np.int64), **inputs})
        for item in index["outputs"]:
            path = golden / item["npy"].replace("{id}", str(member))
            path.parent.mkdir(exist_ok=True)
            np.save(path, outputs[item["name"]])
    (golden / "runtime.txt").write_text(f"MLflow {mlflow.__version__}, onnx flavour")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
