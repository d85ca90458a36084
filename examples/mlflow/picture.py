"""A picture through one member of model.onnx as an MLflow model: prints the class that it ranks first.

PYTHONPATH=../python python picture.py BUNDLE MEMBER PICTURE MODEL
"""

import sys
from pathlib import Path

import mlflow
import numpy as np
import onnx
from pictures import as_input, class_names, existing_member, read_manifest


def main(bundle: Path, member: str, picture: Path, saved: Path) -> None:
    manifest = read_manifest(bundle)
    if not saved.exists():
        mlflow.onnx.save_model(onnx.load(bundle / "model.onnx"), str(saved))  # or log_model, in a run
    model = mlflow.pyfunc.load_model(str(saved))
    cond_id = np.array(existing_member(manifest, member), np.int64)  # no axes
    logits = model.predict({"cond_id": cond_id, "image": as_input(manifest, picture)})["logits"]
    print(class_names(manifest)[int(logits[0].argmax())])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
