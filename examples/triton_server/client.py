"""A picture through a server of Triton: what the members say of it, by condition id.

python client.py IMAGE MODEL [--members 0,1,2] [--url localhost:8000]

MODEL is the conditional model or the Python one that `hnexport deploy triton` wrote. It needs numpy, pillow and
tritonclient[http]; what else it has to know of the bundle (sizes, mean and std, how many members) the server says.
"""

import argparse
from typing import Any

import numpy as np
import tritonclient.http as triton
from PIL import Image

DTYPES = {"TYPE_FP32": "FP32", "TYPE_UINT8": "UINT8"}


def batch(path: str, described: dict[str, Any], said: dict[str, str]) -> np.ndarray:
    """The picture as a batch of one: (pixel / 255 - mean) / std with channels first, or pixels as they are."""
    sizes = [int(size) for size in described["dims"] if int(size) > 0]
    first = sizes[0] in (1, 3)
    channels, height, width = sizes if first else (sizes[2], sizes[0], sizes[1])
    with Image.open(path) as picture:
        scaled = picture.convert("RGB" if channels == 3 else "L").resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(scaled).reshape(height, width, channels)
    if described["data_type"] == "TYPE_FP32":
        mean, std = (np.array([float(one) for one in said[f"hnexport.{name}"].split(",")]) for name in ("mean", "std"))
        pixels = ((pixels / 255 - mean) / std).astype(np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if first else pixels)[None]


def logits(client: Any, config: dict[str, Any], images: np.ndarray, members: list[int]) -> np.ndarray:
    """[member, class]: one request for all members where the model takes batches, otherwise one for each."""
    described = config["input"][1]
    if int(config.get("max_batch_size", 0)) > 0:
        asked = [(np.array(members)[:, None], np.repeat(images, len(members), axis=0))]
    else:
        asked = [(np.array([member]), images) for member in members]
    rows = []
    for ids, samples in asked:
        given = [
            triton.InferInput("cond_id", ids.shape, "INT64"),
            triton.InferInput(described["name"], samples.shape, DTYPES[described["data_type"]]),
        ]
        given[0].set_data_from_numpy(ids.astype(np.int64))
        given[1].set_data_from_numpy(samples)
        rows.append(client.infer(config["name"], given).as_numpy(config["output"][0]["name"]))
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("image")
    parser.add_argument("model")
    parser.add_argument("--members", default="", help="as 0,1,2; by default all")
    parser.add_argument("--url", default="localhost:8000")
    given = parser.parse_args()
    client = triton.InferenceServerClient(given.url)
    config = client.get_model_config(given.model)
    if config["input"][0]["name"] != "cond_id":
        parser.error(f"{given.model} takes no cond_id: give the conditional model, or the Python one (…-python)")
    said = {name: value["string_value"] for name, value in config["parameters"].items()}
    members = [int(one) for one in given.members.split(",") if one] or list(range(int(said["hnexport.members"])))
    found = logits(client, config, batch(given.image, config["input"][1], said), members).astype(np.float64)
    shares = np.exp(found - found.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    for name, row in [*((f"member {member}", row) for member, row in zip(members, shares, strict=True)),
                      ("mean", shares.mean(axis=0))]:  # fmt: skip
        print(f"{name}: class {row.argmax()}, {row.max():.6f}")


if __name__ == "__main__":
    main()
