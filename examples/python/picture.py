"""A picture through every member of model.onnx, without hnexport: the mean of their probabilities.

python picture.py BUNDLE PICTURE
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pictures import as_input, class_names, read_manifest


def main(bundle: Path, file: Path) -> None:
    manifest = read_manifest(bundle)
    image, output = manifest["inputs"][1]["name"], manifest["outputs"][0]["name"]
    batch = as_input(manifest, file)
    session = ort.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    members = range(manifest["members"])
    inputs = ({"cond_id": np.array(member, np.int64), image: batch} for member in members)
    logits = np.stack([session.run([output], one)[0][0] for one in inputs]).astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
    names = class_names(manifest)
    for number in np.argsort(-mean)[:3]:
        print(f"{names[number]}: {mean[number]:.4f}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except ValueError as error:
        sys.exit(str(error))
