"""Damage to a bundle's tables that only a careful reader notices: manifests and golden samples that nearly fit.

Each edit keeps the schema, so that what is damaged gets past the reader of records and to the checks behind it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

DTYPES = ("bool", "uint8", "int32", "int64", "uint64", "float16", "bfloat16", "float32", "float64")
SIZES = (0, 1, 2, 3, 6, 8, 2**31, 2**50)
NAMES = (
    "image",
    "logits",
    "cond_id",
    "cond_ids",
    "member",
    "batch",
    "a/b",
    "../x",
    "\u202e",
    "\x1b[31m",
    "",
    "member_logits",
)
NUMBERS = (0.0, -1.0, 1e-300, 1e308, float("nan"), float("inf"), 2.0**62)
METADATA = "hnexport.golden"


def _shape(random: Random, shape: list[Any]) -> list[Any]:
    """Another shape: an axis changed, dropped, added, opened or named like the batch."""
    new = list(shape)
    place = random.randrange(len(new) + 1)
    match random.choice(("size", "size", "drop", "add", "open", "reverse", "many")):
        case "size" if place < len(new):
            new[place] = random.choice((*SIZES, "batch", "member", "n"))
        case "drop" if place < len(new):
            del new[place]
        case "open" if place < len(new):
            new[place] = random.choice(("batch", "time", "member", ""))
        case "reverse":
            new.reverse()
        case "many":
            new = [random.choice(SIZES)] * random.choice((3, 40, 64, 65))
        case _:
            new.insert(place, random.choice(SIZES))
    return new


def _signature(random: Random, manifest: dict[str, Any]) -> str:
    which = random.choice(("inputs", "outputs"))
    table = manifest[which]
    if not table or not manifest["outputs"]:
        return f"no {which}"
    tensor = random.choice(table)
    match random.choice(("shape", "shape", "dtype", "name", "drop", "double", "exchange", "kind")):
        case "shape":
            tensor["shape"] = _shape(random, tensor["shape"])
        case "dtype":
            tensor["dtype"] = random.choice(DTYPES)
        case "name":
            tensor["name"] = random.choice(NAMES)
        case "drop":
            table.remove(tensor)
        case "double":
            table.append({**tensor, "name": f"{tensor['name']}2"})
        case "exchange":
            random.shuffle(table)
        case _:
            output = random.choice(manifest["outputs"])
            output["kind"] = random.choice(("logits", "value"))
            output["axis"] = random.choice((None, -1, 0, 1, 2, 63))
    return f"{which} are {json.dumps(table)[:200]}"


def _stored(random: Random, manifest: dict[str, Any]) -> str:
    """A slot and the tensor that fills it, alike."""
    stored = random.choice(manifest["stored"])
    slot = next((one for one in manifest["slots"] if one["name"] == stored["slot"]), None)
    if slot is None or random.random() < 0.2:
        stored["kind"] = random.choice(("shared", "member", "basis", "embedding"))
        stored["shape"] = _shape(random, stored["shape"]) if random.random() < 0.5 else stored["shape"]
        return f"{stored['name']} is {stored['kind']} {stored['shape']}"
    if random.random() < 0.5:
        slot["dtype"] = stored["dtype"] = random.choice(DTYPES)
    else:
        slot["shape"] = [size if isinstance(size, int) else 1 for size in _shape(random, slot["shape"])]
        stored["shape"] = [*stored["shape"][:1], *slot["shape"]] if stored["kind"] == "member" else slot["shape"]
    return f"{slot['name']} is {slot['dtype']} {slot['shape']}"


def _alias(random: Random, manifest: dict[str, Any]) -> str:
    slot, other = random.choice(manifest["slots"]), random.choice(manifest["slots"])
    slot["alias_of"] = random.choice((None, other["name"], slot["name"], slot["alias_of"], "x"))
    return f"{slot['name']} is tied to {slot['alias_of']}"


def _members(random: Random, manifest: dict[str, Any]) -> str:
    members = random.choice((0, 1, 2, 4, 1000, 2**31, 2**62))
    manifest["members"] = members
    for stored in manifest["stored"]:
        if stored["kind"] in ("member", "embedding") and stored["shape"]:
            stored["shape"][0] = members
    return f"{members} members"


def _supplied(random: Random, manifest: dict[str, Any]) -> str:
    if manifest["onnx"] is None or not manifest["onnx"]["supplied"]:
        return "nothing"
    names = manifest["onnx"]["supplied"]
    match random.choice(("shuffle", "drop", "add", "none")):
        case "shuffle":
            random.shuffle(names)
        case "drop":
            names.remove(random.choice(names))
        case "add":
            names.append(random.choice(manifest.get("slots") or [{"name": "x"}])["name"])
        case _:
            names.clear()
    return f"supplied are {names[:3]} …"


def _source(random: Random, manifest: dict[str, Any]) -> str:
    manifest["source"] = random.choice(
        (
            {"family": "modules", "spec": {}},
            {"family": "wide-resnet", "spec": {}},
            {"family": "modules", "spec": manifest["source"]["spec"] or {"x": 1}},
            {"family": "x", "spec": {}},
        )
    )
    return f"source is {manifest['source']['family']}"


def _version(random: Random, manifest: dict[str, Any]) -> str:
    manifest["schema_version"] = random.choice((1, 3))
    if random.random() < 0.5:
        manifest["spec"] = manifest.pop("source")["spec"]
        for name in ("members", "slots", "stored"):
            del manifest[name]
    return f"version {manifest['schema_version']}"


EDITS: tuple[Callable[[Random, dict[str, Any]], str], ...] = (
    *(_signature, _signature, _signature, _stored, _stored, _alias, _members, _supplied, _source, _version),
)


def mutate_tables(random: Random, path: Path) -> str:
    """Change what a manifest says, by its own rules."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    edits = EDITS if "slots" in manifest else (_signature, _supplied)  # version 1 has no more
    did = [random.choice(edits)(random, manifest)]
    if random.random() < 0.2:
        did.append(_signature(random, manifest))
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return f"{path.name}: {', '.join(did)}"


def mutate_golden(random: Random, path: Path) -> str:
    """Change the tensors of golden samples, or what their metadata say."""
    with safe_open(path, framework="numpy") as file:
        described = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = random.choice(sorted(tensors))
    tensor = tensors[name]
    match random.choice(("fill", "fill", "cast", "cut", "rank", "drop", "rename", "exchange", "kinds", "spoils")):
        case "fill":
            number = random.choice(NUMBERS if tensor.dtype.kind == "f" else (0, -1, 2**31, 2**62))
            with np.errstate(all="ignore"):
                tensors[name] = np.full(tensor.shape, number).astype(tensor.dtype)
        case "cast":
            with np.errstate(all="ignore"):
                tensors[name] = tensor.astype(random.choice(("float16", "float32", "float64", "int64", "uint8")))
        case "cut":
            tensors[name] = tensor[: random.randrange(len(tensor) + 1)] if tensor.ndim else tensor
        case "rank":
            tensors[name] = tensor.reshape(random.choice((tensor.shape[::-1], (1, *tensor.shape), (-1,))))
        case "drop":
            del tensors[name]
        case "rename":
            tensors[random.choice((f"{name}2", f"input.{name}", "images", "x"))] = tensors.pop(name)
        case "exchange":
            other = random.choice(sorted(tensors))
            tensors[name], tensors[other] = tensors[other], tensors[name]
        case "kinds":
            described["kinds"] = random.choice(([], ["a"] * 100_000, ["\x1b[31m"] * len(described["kinds"])))
        case _:
            described["spoils"] = random.choice((None, {}, {"x": ["y"]}, {"image": []}, {"image": ["logits"] * 1000}))
    whole = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(whole, path, {METADATA: json.dumps(described)})
    return f"{path.name}: {name} or {sorted(described)} changed"
