"""Runtimes that Python cannot reach: golden inputs as plain files, and a verdict on what a runtime made of them.

A folder of golden inputs has `golden.json`, which says what every file is, and each input as `.npy` and as raw values.
The runtime's outputs are `member-ID/NAME.npy` or `.raw`, in the same folder or in another one. Names, types and shapes
are those of the bundle's signature.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hnexport.bundle.checksums import check_files
from hnexport.bundle.digest import DIGEST_PREFIX
from hnexport.bundle.golden import Golden, read_golden
from hnexport.bundle.manifest import Identified, read_identified
from hnexport.bundle.writer import staged_folder
from hnexport.errors import ParityError
from hnexport.names import GOLDEN_FILE
from hnexport.parity.members import checked_members, unknown_ids
from hnexport.reading import MissingFileError, ReadError, read_json
from hnexport.records import RecordError, from_json, to_json
from hnexport.spec import OutputSpec, Signature, TensorSpec
from hnexport.spelling import spelled

__all__ = ["GOLDEN_INDEX", "GoldenIndex", "NamedFile", "golden_index", "read_index", "write_golden_inputs"]

GOLDEN_INDEX = "golden.json"
SCHEMA = "hnexport-golden"
SCHEMA_VERSION = 2
MAX_INDEX_BYTES = 16 * 2**20  # one names every member that is asked for
UNKNOWN_IDS = 2  # how many of the ids that do not exist a runtime may be asked for: the nearest, within 32 bits


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """One tensor as files, relative to the folder: `npy` describes itself, `raw` is the values alone.

    Attributes:
        name: of the input or output.
        dtype: numpy's name of it.
        shape: of all samples together.
        batch: whether the first axis is the golden samples, in their order. Otherwise an input is the same for all
            samples, and an output is of all of them in one batch.
        npy: the file in numpy's format, with dtype and shape.
        raw: the file of values alone.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    batch: bool = True
    npy: str
    raw: str


@dataclass(frozen=True, kw_only=True)
class GoldenIndex:
    """`golden.json`.

    Attributes:
        schema: what this is.
        schema_version: of what this is; version 1 is read too.
        what_to_do: the whole instruction, in words.
        bundle: its name.
        manifest_sha256: of the bundle's manifest, so that outputs are not judged by another bundle.
        signature_inputs: of `model.onnx`, the condition id first.
        signature_outputs: of the network.
        order: how values lie in raw files.
        byte_order: of raw files.
        sample_kinds: what each golden sample is, in words.
        inputs: the golden samples, a file for each input (the condition id is the member).
        members: the condition ids to run, each with all samples.
        outputs: what to write for each member; `{id}` stands for it.
        unknown_ids: ids that do not exist: their outputs may be written too, and must be NaN where they are
            floating-point.
    """

    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
    what_to_do: str
    bundle: str
    manifest_sha256: str
    signature_inputs: tuple[TensorSpec, ...]
    signature_outputs: tuple[OutputSpec, ...]
    order: str = "C: the last axis runs fastest"
    byte_order: str = "little"
    sample_kinds: tuple[str, ...]
    members: tuple[int, ...]
    unknown_ids: tuple[int, ...]
    inputs: tuple[NamedFile, ...]
    outputs: tuple[NamedFile, ...]


def write_golden_inputs(bundle: Path, target: Path, members: Sequence[int] | None = None) -> GoldenIndex:
    """Write a bundle's golden inputs into a folder that does not exist yet.

    Args:
        members: the members to ask for; None takes those of the golden samples.

    Raises:
        BundleError: the bundle cannot be read, or the folder cannot be written.
        ParityError: the folder is there already, what should hold it is not there, or a member does not exist.
    """
    if target.exists() or target.is_symlink():
        raise ParityError(f"{target} exists: choose another {spelled('target', '--out')}")
    found = read_identified(bundle)
    check_files(bundle, found.manifest, [GOLDEN_FILE])
    golden = read_golden(bundle, found.manifest)
    index = golden_index(found, golden, members)
    if not target.parent.is_dir():
        raise ParityError(f"{target.parent} is not a folder: choose another {spelled('target', '--out')}, or make it")
    with staged_folder(target) as folder:
        (folder / "inputs").mkdir()
        for item in index.inputs:
            values = np.asarray(golden.inputs[item.name], np.dtype(item.dtype).newbyteorder("<"), order="C")
            np.save(folder / item.npy, values, allow_pickle=False)
            (folder / item.raw).write_bytes(values.tobytes())
        text = json.dumps(to_json(index), indent=2, ensure_ascii=False) + "\n"
        (folder / GOLDEN_INDEX).write_text(text, encoding="utf-8", newline="\n")
    return index


def golden_index(found: Identified, golden: Golden, members: Sequence[int] | None = None) -> GoldenIndex:
    """What `golden.json` of a bundle says."""
    manifest = found.manifest
    held = golden.members.tolist()
    chosen = tuple(held if members is None else checked_members(manifest.members, members))
    inputs, outputs = manifest.signature.inputs, manifest.outputs
    return GoldenIndex(
        what_to_do=_what_to_do(manifest.inputs[0].name, manifest.signature),
        bundle=manifest.name,
        manifest_sha256=_sha256(found),
        signature_inputs=manifest.inputs,
        signature_outputs=manifest.outputs,
        sample_kinds=golden.kinds,
        members=chosen,
        unknown_ids=unknown_ids(manifest.members, 32)[:UNKNOWN_IDS],
        inputs=tuple(_named(item, golden.inputs[item.name].shape, "inputs") for item in inputs),
        outputs=tuple(_named(item, golden.outputs[item.name].shape[1:], "member-{id}") for item in outputs),
    )


def _what_to_do(cond_id: str, signature: Signature) -> str:
    """The whole instruction: other people read nothing else."""
    batched = [item.name for item in signature.inputs if item.has_batch]
    once = ", ".join(item.name for item in signature.inputs if not item.has_batch)
    whole = ", ".join(item.name for item in signature.outputs if not item.has_batch)
    given = " and ".join(f"inputs/{item.name}" for item in signature.inputs) or "no other input"
    if whole or not batched:
        how = f", in one batch ({whole} is of all samples together)" if batched else ""
    else:
        samples = "images" if batched == ["image"] else "samples"
        how = f", in batches of any size. Stack the rows in the order of the {samples}"
    same = f" ({once} is the same in every call)" if once else ""
    files = " and ".join(f"{item.name} to member-ID/{item.name}.npy" for item in signature.outputs)
    raw = " and ".join(f"{item.name} as {item.dtype}" for item in signature.outputs)
    return (
        f"For each id in `members` set the input {cond_id} to that id and run all of {given}{same}{how}. "
        f"Write {files} (any float type for floats), or {raw}, little-endian, without a header, to "
        "member-ID/NAME.raw. If you like, do the same for `unknown_ids`, and write one line about the runtime to "
        "runtime.txt. Then: hnexport verify BUNDLE --outputs FOLDER"
    )


def read_index(folder: Path, bundle: Path, found: Identified) -> GoldenIndex | None:
    """`golden.json` of a folder of outputs for a bundle, None where there is none.

    Raises:
        ParityError: it cannot be read, or was written for another bundle.
    """
    path = folder / GOLDEN_INDEX
    try:
        index = from_json(GoldenIndex, _of_version1(read_json(path, MAX_INDEX_BYTES)))
    except MissingFileError:
        return None
    except (ReadError, RecordError) as error:
        raise ParityError(f"{path} cannot be read: {error}; write it again with `hnexport golden`") from error
    if (index.schema, index.schema_version) != (SCHEMA, SCHEMA_VERSION):
        raise ParityError(f"{path} is no {SCHEMA} of version {SCHEMA_VERSION}: write it again with `hnexport golden`")
    if index.manifest_sha256 != _sha256(found):
        raise ParityError(
            f"{path} belongs to another bundle, {index.bundle}, or to another build of it: "
            f"run the inputs of `hnexport golden {bundle}` instead"
        )
    return index


def _of_version1(value: Any) -> Any:
    """The same index as version 1 has it, which knew one image alone."""
    if not isinstance(value, dict) or value.get("schema_version") != 1 or "image_kinds" not in value:
        return value
    rest = {name: item for name, item in value.items() if name != "image_kinds"}
    return {**rest, "schema_version": SCHEMA_VERSION, "sample_kinds": value["image_kinds"]}


def _named(tensor: TensorSpec, shape: Sequence[int], folder: str) -> NamedFile:
    stem = f"{folder}/{tensor.name}"
    return NamedFile(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tuple(shape),
        batch=tensor.has_batch,
        npy=f"{stem}.npy",
        raw=f"{stem}.raw",
    )


def _sha256(found: Identified) -> str:
    return found.digest.removeprefix(DIGEST_PREFIX)
