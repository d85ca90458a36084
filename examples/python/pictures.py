"""What manifest.json says of pictures and classes, for loaders without hnexport: numpy and Pillow are all it needs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_manifest(bundle: Path) -> dict[str, Any]:
    """What the bundle says of itself."""
    manifest: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def as_input(manifest: dict[str, Any], file: Path) -> NDArray[Any]:
    """The picture as float32 `[1, channel, height, width]`, normalised as in training, or uint8 `[1, height, width,
    channel]`, where the graph normalises.

    Raises:
        ValueError: it has another size, or nobody said how training normalised pictures: a wrong guess gives numbers.
    """
    _, image = manifest["inputs"]  # the first is cond_id
    sizes = image["shape"][1:]
    height, width, channels = sizes if image["dtype"] == "uint8" else (*sizes[1:], sizes[0])
    picture = Image.open(file).convert("RGB" if channels == 3 else "L")
    if picture.size != (width, height):
        raise ValueError(f"{file} is {picture.size}, this network takes {(width, height)}")
    pixels = np.asarray(picture, dtype=np.uint8).reshape(1, height, width, channels)
    if image["dtype"] == "uint8":
        return pixels
    normalisation = manifest.get("usage", {}).get("normalisation")  # no usage where nobody said anything
    if normalisation is None:
        raise ValueError(f"{file}: this bundle does not say how training normalised pictures")
    mean, std = (np.array(normalisation[name], np.float32) for name in ("mean", "std"))  # one number, or one a channel
    return np.ascontiguousarray(((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2))


def class_names(manifest: dict[str, Any]) -> list[str]:
    """Of the first output, in the order of its classes `[batch, class]`."""
    output = manifest["outputs"][0]
    said: list[str] | None = manifest.get("usage", {}).get("class_names", {}).get(output["name"])
    return said or [f"class {number}" for number in range(output["shape"][1])]


def existing_member(manifest: dict[str, Any], text: str) -> int:
    """The id, where there is such a member.

    Raises:
        ValueError: there is none. The bundle's files give NaN then, but not every runtime passes ids on whole.
    """
    member = int(text)
    if not 0 <= member < manifest["members"]:
        raise ValueError(f"there is no member {member}, they are 0 to {manifest['members'] - 1}")
    return member
