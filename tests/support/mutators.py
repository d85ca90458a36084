"""Damage to everything that hnexport reads, drawn from a seeded generator: checkpoints, manifests, bundles, images.

A mutant is what it is by its kind, seed and number alone, so that one can be made again. It changes a file or folder
in place, which is a copy, and says in words what it did.
"""

import copy
import io
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from table_mutators import mutate_golden, mutate_tables

from hnexport.bundle.checksums import record_file
from hnexport.records import to_json

CANARY = "canary"  # a file that planted code makes in its working folder
HOSTILE_NUMBERS = (0, 1, 0x7F, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def _flip_bits(random: Random, data: bytearray) -> str:
    count = random.choice((1, 1, 2, 8, 64))
    for _ in range(count):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return f"{count} bits flipped"


def _truncate(random: Random, data: bytearray) -> str:
    size = random.choice((0, 1, 7, 8, random.randrange(len(data)), len(data) - 1))
    del data[size:]
    return f"cut to {size} bytes"


def _zero_range(random: Random, data: bytearray) -> str:
    start = random.choice((0, random.randrange(len(data))))
    end = min(len(data), start + random.choice((1, 8, 512, 4096, len(data))))
    data[start:end] = bytes(end - start)
    return f"bytes {start} to {end} zeroed"


def _overwrite_number(random: Random, data: bytearray) -> str:
    """What may be a length or an offset, mostly in the header."""
    size = random.choice((1, 2, 4, 8))
    last = max(0, len(data) - size)
    place = random.choice((0, random.randrange(min(last, 256) + 1), random.randrange(last + 1)))
    number = random.choice(HOSTILE_NUMBERS) & (256**size - 1)
    data[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))
    return f"{number} written as {size} bytes at {place}"


def _insert(random: Random, data: bytearray) -> str:
    place, count = random.randrange(len(data) + 1), random.choice((1, 16, 1000))
    data[place:place] = random.randbytes(count)
    return f"{count} bytes inserted at {place}"


def _cut_out(random: Random, data: bytearray) -> str:
    place, count = random.randrange(len(data)), random.choice((1, 16, 1000))
    del data[place : place + count]
    return f"{count} bytes removed at {place}"


def _other_content(random: Random, data: bytearray) -> str:
    content = random.choice((b"\0" * len(data), b"{}", b"null", b"PK\x03\x04", b"\xff\xfe\x00\x00", b"%PDF-1.4", b"\n"))
    data[:] = content
    return f"replaced by {len(content)} bytes {content[:8]!r}"


BYTES = (_flip_bits, _truncate, _zero_range, _overwrite_number, _insert, _cut_out, _other_content)


def mutate_bytes(random: Random, path: Path) -> str:
    """Damage the bytes of a file."""
    data = bytearray(path.read_bytes())
    did = random.choice(BYTES)(random, data) if data else "was empty"
    path.write_bytes(data)
    return f"{path.name}: {did}"


_RAW = "\0raw "  # a string that stands for JSON which Python would not write

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 0.5, 1e308, 2**31, 2**63, 10**30, 200_000, "", "0", "nan", "onnx"),
    *(f"{_RAW}{'9' * 5000}", f"{_RAW}-{'9' * 5000}", f"{_RAW}NaN", f"{_RAW}Infinity", f"{_RAW}1e999", f"{_RAW}-0.0"),
    *(f"{_RAW}{'[' * 5000}{']' * 5000}", f"{_RAW}{'[' * 200_000}", f'{_RAW}{{"a":' * 3000),
    *("\ud800", "a" * 100_000, "\u202e", "\0", "\x1b]0;title\x07\x1b[31m", "[red]x[/]", "[/]", "{}%s%n", "a/b", "../x"),
    *(
        "../../../../etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        ".",
        "..",
        "con",
        "manifest.json",
        "weights.bin",
    ),
    *([], {}, [[]], [None], {"": ""}, [1, 2, 3], [0] * 5000, {"size_bytes": 1, "sha256": "0" * 64}, [10**12] * 4),
)


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


def mutate_value(random: Random, value: Any, hostile: Sequence[Any] = HOSTILE_VALUES) -> tuple[Any, str]:
    """A copy of a tree of dicts and lists with one place changed; gives it and what was done."""
    changed = copy.deepcopy(value)
    places = [path for path in _places(changed) if path]
    if not places or random.random() < 0.02:
        return copy.deepcopy(random.choice(hostile)), "another value altogether"
    path = random.choice(places)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    key, where = path[-1], ".".join(map(str, path))
    match random.choice(("value", "value", "value", "delete", "rename", "number", "exchange")):
        case "delete":
            del parent[key]
            return changed, f"{where} deleted"
        case "rename" if isinstance(parent, dict):
            name = random.choice([item for item in hostile if isinstance(item, str) and not item.startswith(_RAW)])
            parent[name] = parent.pop(key)
            return changed, f"{where} renamed to {name[:40]!r}"
        case "number" if isinstance(parent[key], int | float):
            factor = random.choice((-1, 0, 2, 10, 1000, 10**6, 10**12))
            parent[key] = parent[key] * factor + random.choice((0, 0, 1, -1))
            return changed, f"{where} times {factor}"
        case "exchange":
            other = random.choice(places)
            target = changed
            for step in other:
                target = target[step]
            parent[key] = copy.deepcopy(target)
            return changed, f"{where} replaced by {'.'.join(map(str, other))}"
    new = copy.deepcopy(random.choice(hostile))
    parent[key] = new
    return changed, f"{where} is {str(new)[:40]!r} now"


def json_text(value: Any) -> bytes:
    """JSON with what Python would not write: huge numbers, lone surrogates, arrays without an end."""
    text = json.dumps(value)
    start = json.dumps(_RAW)[:-1]
    while (place := text.find(start)) >= 0:
        end = text.index('"', place + len(start))
        while text[end - 1] == "\\":
            end = text.index('"', end + 1)
        text = text[:place] + json.loads(text[place : end + 1])[len(_RAW) :] + text[end + 1 :]
    return text.encode("utf-8", "surrogatepass")


def mutate_json(random: Random, path: Path) -> str:
    """Change one or two places of a JSON file."""
    value, did = json.loads(path.read_text(encoding="utf-8")), []
    for _ in range(random.choice((1, 1, 2))):
        value, what = mutate_value(random, value)
        did.append(what)
    path.write_bytes(json_text(value))
    return f"{path.name}: {', '.join(did)}"


def mutate_safetensors(random: Random, path: Path) -> str:
    """Change the header (after eight bytes of length): names, dtypes, shapes, offsets, and the JSON in its metadata."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header.get("__metadata__", {})
    inner = [key for key in metadata if metadata[key][:1] in "{["]
    if inner and random.random() < 0.6:
        key = random.choice(inner)
        value, did = mutate_value(random, json.loads(metadata[key]))
        metadata[key] = json_text(value).decode("utf-8", "replace")
        did = f"metadata {key}: {did}"
    else:
        header, did = mutate_value(random, header)
    text = json_text(header)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    return f"{path.name}: header: {did}"


class _Planted:
    """Runs a command where a file is unpickled without care."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def plant_code(random: Random, path: Path) -> str:
    """Replace a file by one that runs code when it is unpickled."""
    kind = random.choice(("torch.save", "legacy", "pickle"))
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": _Planted()}))
    else:
        torch.save({"hnet": _Planted()}, path, _use_new_zipfile_serialization=kind == "torch.save")
    return f"{path.name}: code in a pickle ({kind})"


ODD_TENSORS: tuple[Callable[[torch.Tensor], object], ...] = (
    lambda tensor: tensor * float("nan"),
    lambda tensor: tensor * 1e30,
    lambda tensor: tensor * 0,
    lambda tensor: tensor.double(),
    lambda tensor: tensor.half(),
    lambda tensor: tensor.bfloat16(),
    lambda tensor: tensor.to(torch.int64),
    lambda tensor: tensor.to(torch.complex64),
    lambda tensor: tensor.to(torch.bool),
    lambda tensor: tensor.flatten(),
    lambda tensor: tensor[None],
    lambda tensor: tensor[:0],
    lambda tensor: tensor.repeat(2, *([1] * (tensor.ndim - 1))) if tensor.ndim else tensor,
    lambda tensor: tensor.transpose(0, -1) if tensor.ndim > 1 else tensor,
    lambda tensor: tensor.to_sparse() if tensor.ndim else tensor,
    lambda tensor: tensor.expand(1000, *tensor.shape),
    lambda tensor: torch.zeros(()),
    lambda tensor: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor,
    lambda tensor: torch.empty(tensor.shape, device="meta"),
    lambda tensor: None,
    lambda tensor: "text",
    lambda tensor: [1.0, 2.0],
)


def mutate_state_dicts(random: Random, path: Path) -> str:
    """Change the tensors of a file of state dicts: their names, shapes, dtypes and values."""
    states = torch.load(path, weights_only=True)
    states = {network: dict(state) for network, state in states.items()}
    did = []
    for _ in range(random.choice((1, 1, 3))):
        network = random.choice(sorted(states))
        state = states[network]
        if not state:
            continue
        name = random.choice(sorted(state, key=str))
        match random.choice(("value", "value", "value", "delete", "rename", "copy", "network")):
            case "delete":
                del state[name]
                did.append(f"{network}.{name} deleted")
            case "rename":
                other = random.choice(("x", "", "mean_99", "[red]", "\x1b[31m", f"{name}.0", 7, "9" * 50))
                state[other] = state.pop(name)
                did.append(f"{network}.{name} renamed to {other!r}")
            case "copy":
                state[f"{name}_99"] = state[name]
                did.append(f"{network}.{name} doubled")
            case "network":
                states[random.choice(("x", "hnet", "mnet", "__class__"))] = states.pop(network)
                did.append(f"{network} renamed")
            case _ if isinstance(state[name], torch.Tensor):
                number = random.randrange(len(ODD_TENSORS))
                state[name] = ODD_TENSORS[number](state[name])
                did.append(f"{network}.{name}: odd tensor {number}")
    torch.save(random.choice((states, states, list(states.values()), states.get("hnet", states))), path)
    return f"{path.name}: {', '.join(did)}"


HOSTILE_PLACES = (
    *("-1", "0", "1", "9" * 30, "x", "", "1e3", "nan", str(2**62)),
    *("../../etc/passwd", "/dev/zero", "absent.bin"),
)


def mutate_onnx(random: Random, path: Path) -> str:
    """Change the structure of a graph: external data, operators, edges, shapes, attributes."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    external = [tensor for tensor in graph.initializer if tensor.external_data]
    match random.choice(("external", "external", "operator", "edge", "drop", "dims", "attribute", "input", "opset")):
        case "external" if external:
            tensor = random.choice(external)
            entry = random.choice(tensor.external_data)
            entry.value = random.choice(HOSTILE_PLACES)
            did = f"{tensor.name}: {entry.key} is {entry.value!r}"
        case "operator":
            node = random.choice(graph.node)
            node.op_type = random.choice(("Nothing", "Identity", "Loop", "MatMul", "Add", "ConstantOfShape", ""))
            did = f"{node.name} is {node.op_type!r}"
        case "edge":
            node = random.choice([node for node in graph.node if node.input])
            node.input[random.randrange(len(node.input))] = random.choice(("", "absent", "image", node.output[0]))
            did = f"{node.name} has the inputs {list(node.input)}"
        case "drop":
            node = random.choice(graph.node)
            graph.node.remove(node)
            did = f"{node.name} removed"
        case "dims" if graph.initializer:
            tensor = random.choice(graph.initializer)
            tensor.dims[:] = random.choice(([], [0], [-1], [10**12], [2**31, 2**31], [1] * 40, [*tensor.dims][::-1]))
            did = f"{tensor.name} has the shape {list(tensor.dims)[:8]}"
        case "attribute":
            node = random.choice([node for node in graph.node if node.attribute] or list(graph.node))
            for attribute in list(node.attribute)[:1]:
                attribute.i = random.choice((-1, 0, 2**62))
                attribute.ints[:] = random.choice(([], [0], [-1, -1], [2**40] * 4))
            did = f"{node.name}: attribute changed"
        case "input":
            value = random.choice(graph.input) if random.random() < 0.5 else random.choice(graph.output)
            value.name = random.choice(("x", "", "image", "cond_id", "\x1b[31m[red]"))
            did = f"an input or output is called {value.name!r}"
        case _:
            model.opset_import[0].version = random.choice((0, 1, 7, 99, 2**31 - 1))
            model.ir_version = random.choice((1, model.ir_version, 99))
            did = "other versions"
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: {did}"


def mutate_checkpoint(random: Random, path: Path) -> str:
    """A native checkpoint (.safetensors) or a file of hypnettorch's state dicts (.pt)."""
    own = mutate_safetensors if path.suffix == ".safetensors" else mutate_state_dicts
    if path.suffix == ".pt" and random.random() < 0.1:
        return plant_code(random, path)
    return random.choice((own, own, mutate_bytes))(random, path)


def mutate_manifest(random: Random, folder: Path) -> str:
    """The manifest of a bundle."""
    ways = (mutate_json, mutate_json, mutate_tables, mutate_tables, mutate_tables, mutate_bytes)
    return random.choice(ways)(random, folder / "manifest.json")


def mutate_bundle(random: Random, folder: Path) -> str:
    """Any file of a bundle but the manifest; half of them are signed again."""
    path = folder / random.choice(sorted(item.name for item in folder.iterdir() if item.name != "manifest.json"))
    structured = {".json": mutate_json, ".onnx": mutate_onnx, ".safetensors": mutate_safetensors}
    structured |= {".pt": plant_code, ".pt2": plant_code}
    if path.suffix == ".safetensors" and random.random() < 0.7:
        structured[".safetensors"] = mutate_golden
    match random.choice(("structure", "structure", "structure", "bytes", "bytes", "swap", "delete")):
        case "structure" if path.suffix in structured:
            did = structured[path.suffix](random, path)
        case "swap":
            other = folder / random.choice(sorted(item.name for item in folder.iterdir() if item != path))
            first, second = path.read_bytes(), other.read_bytes()
            path.write_bytes(second)
            other.write_bytes(first)
            did = f"{path.name} and {other.name} swapped"
        case "delete":
            path.unlink()
            did = f"{path.name} deleted"
        case _:
            did = mutate_bytes(random, path)
    return f"{did}; signed again" if random.random() < 0.5 and sign(folder) else did


def sign(folder: Path) -> bool:
    """Write sizes and checksums of the files as they are; False where the manifest is not there any more."""
    path = folder / "manifest.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        value["files"] = {
            name: to_json(record_file(folder / name)) for name in value["files"] if (folder / name).exists()
        }
    except (ValueError, KeyError, TypeError):
        return False
    path.write_text(json.dumps(value), encoding="utf-8")
    return True


IMAGE_KINDS = ("png", "jpeg", "bmp", "gif", "tiff", "webp", "npy")


def write_image(random: Random, folder: Path) -> Path:
    """An image of 8x8 pixels in one of the formats and modes that people have."""
    pixels = np.array([random.randrange(256) for _ in range(8 * 8 * 4)], dtype=np.uint8).reshape(8, 8, 4)
    kind = random.choice(IMAGE_KINDS)
    path = folder / f"image.{kind}"
    if kind == "npy":
        np.save(path, (pixels[..., :3] / 255).astype(np.float32).transpose(2, 0, 1)[None])
        return path
    modes = ("RGB", "RGB", "L", "P", "RGBA", "1", "LA")
    picture = Image.fromarray(pixels).convert(random.choice(modes))
    buffer = io.BytesIO()
    try:
        picture.save(buffer, kind)
    except OSError:
        picture.convert("RGB").save(buffer, kind)
    path.write_bytes(buffer.getvalue())
    return path


NPY_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 3, 8, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 8, 8), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1, 3, 8, 8), }",
    "{'descr': '>f8', 'fortran_order': True, 'shape': (1, 3, 8, 8), }",
    "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1, 3, 8, 8), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 3, 8, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3, 8, 8), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 70 + "), }",
    "[" * 500,
)


def mutate_image(random: Random, path: Path) -> str:
    """A picture or an array: its bytes, or the header of an array."""
    if path.suffix == ".npy" and random.random() < 0.6:
        header = random.choice(NPY_HEADERS).encode()
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(768))
        return f"{path.name}: header {header[:60]!r}"
    if random.random() < 0.1:
        return plant_code(random, path)
    return mutate_bytes(random, path)


def copy_to(source: Path, target: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(source, target)) if source.is_dir() else Path(shutil.copy2(source, target))
