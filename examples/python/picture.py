"""A picture through every member of model.onnx, without hnexport: manifest.json says what pictures need.

python picture.py BUNDLE PICTURE
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image


def main(bundle: Path, file: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    _, image = manifest["inputs"]  # the first is cond_id
    output = manifest["outputs"][0]["name"]
    usage = manifest.get("usage", {})  # not there where nobody said anything
    session = ort.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    batch = as_input(file, image, usage.get("normalisation"))
    members = range(manifest["members"])
    inputs = ({"cond_id": np.array(member, np.int64), image["name"]: batch} for member in members)
    logits = np.stack([session.run([output], one)[0][0] for one in inputs]).astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
    names = usage.get("class_names", {}).get(output) or [f"class {number}" for number in range(len(mean))]
    for number in np.argsort(-mean)[:3]:
        print(f"{names[number]}: {mean[number]:.4f}")


def as_input(file: Path, image: dict[str, object], normalisation: dict[str, list[float]] | None) -> NDArray[np.generic]:
    """The picture as `[1, channel, height, width]` in float32, or as `[1, height, width, channel]` in uint8."""
    sizes = list(image["shape"])[1:]
    height, width, channels = sizes if image["dtype"] == "uint8" else (*sizes[1:], sizes[0])
    picture = Image.open(file).convert("RGB" if channels == 3 else "L")
    if picture.size != (width, height):
        sys.exit(f"{file} is {picture.size}, this network takes {(width, height)}")
    pixels = np.asarray(picture, dtype=np.uint8).reshape(1, height, width, channels)
    if image["dtype"] == "uint8":
        return pixels  # the graph normalises it
    if normalisation is None:
        sys.exit(f"{file}: this bundle does not say how training normalised pictures, and a wrong guess gives numbers")
    mean, std = (np.array(normalisation[name], np.float32) for name in ("mean", "std"))  # one number, or one a channel
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
