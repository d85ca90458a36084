"""Runtimes that Python cannot reach: golden inputs as plain files, and a verdict on what a runtime made of them.

A folder of golden inputs has `golden.json`, which says what every file is, and each input as `.npy` and as raw values.
The runtime's outputs are `member-ID/NAME.npy` or `.raw`, in the same folder or in another one. Names, types and shapes
are those of the bundle's signature.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hnexport.bundle.checksums import check_files
from hnexport.bundle.digest import DIGEST_PREFIX
from hnexport.bundle.golden import GOLDEN_FILE, Golden, read_golden
from hnexport.bundle.manifest import Identified, read_identified
from hnexport.bundle.writer import staged_folder
from hnexport.errors import ParityError
from hnexport.parity.checks import unknown_ids
from hnexport.parity.members import checked_members
from hnexport.reading import MissingFileError, ReadError, read_json
from hnexport.records import RecordError, from_json, to_json
from hnexport.spec import OutputSpec, TensorSpec

__all__ = ["GOLDEN_INDEX", "GoldenIndex", "NamedFile", "golden_index", "read_index", "write_golden_inputs"]

GOLDEN_INDEX = "golden.json"
SCHEMA = "hnexport-golden"
SCHEMA_VERSION = 1
MAX_INDEX_BYTES = 16 * 2**20  # one names every member that is asked for
UNKNOWN_IDS = 2  # how many of the ids that do not exist a runtime may be asked for: the nearest, within 32 bits


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """One tensor as files, relative to the folder: `npy` describes itself, `raw` is the values alone.

    Attributes:
        shape: the first axis is the golden images, in their order.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    npy: str
    raw: str


@dataclass(frozen=True, kw_only=True)
class GoldenIndex:
    """`golden.json`.

    Attributes:
        manifest_sha256: of the bundle's manifest, so that outputs are not judged by another bundle.
        inputs: the golden images (other inputs are scalars: the member).
        members: the condition ids to run, each with all images, in batches of any size.
        outputs: what to write for each member; `{id}` stands for it.
        unknown_ids: ids that do not exist: their outputs may be written too, and must be NaN.
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
    image_kinds: tuple[str, ...]
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
        ParityError: the folder is there already, or a member does not exist.
    """
    if target.exists() or target.is_symlink():
        raise ParityError(f"{target} exists: choose another --out")
    found = read_identified(bundle)
    check_files(bundle, found.manifest, [GOLDEN_FILE])
    golden = read_golden(bundle, found.manifest)
    index = golden_index(found, golden, members)
    if not target.parent.is_dir():
        raise ParityError(f"{target.parent} is not a folder: choose another --out, or make it")
    with staged_folder(target) as folder:
        (folder / "inputs").mkdir()
        for item in index.inputs:
            values = np.ascontiguousarray(golden.images).astype(np.dtype(item.dtype).newbyteorder("<"), copy=False)
            np.save(folder / item.npy, values, allow_pickle=False)
            (folder / item.raw).write_bytes(values.tobytes())
        text = json.dumps(to_json(index), indent=2, ensure_ascii=False) + "\n"
        (folder / GOLDEN_INDEX).write_text(text, encoding="utf-8")
    return index


def golden_index(found: Identified, golden: Golden, members: Sequence[int] | None = None) -> GoldenIndex:
    """What `golden.json` of a bundle says."""
    manifest = found.manifest
    held = golden.members.tolist()
    chosen = tuple(held if members is None else checked_members(manifest.spec.members, members))
    cond_id, image, logits = manifest.inputs[0], manifest.inputs[1], manifest.outputs[0]
    shape = (len(golden.images), *golden.logits.shape[2:])
    return GoldenIndex(
        what_to_do=(
            f"For each id in `members` set the input {cond_id.name} to that id and run all of inputs/{image.name}, in "
            f"batches of any size. Stack the rows of {logits.name} in the order of the images and write them to "
            f"member-ID/{logits.name}.npy (any float type), or as {logits.dtype}, little-endian, without a header, to "
            f"member-ID/{logits.name}.raw. If you like, do the same for `unknown_ids`, and write one line about the "
            "runtime to runtime.txt. Then: hnexport verify BUNDLE --outputs FOLDER"
        ),
        bundle=manifest.name,
        manifest_sha256=_sha256(found),
        signature_inputs=manifest.inputs,
        signature_outputs=manifest.outputs,
        image_kinds=golden.kinds,
        members=chosen,
        unknown_ids=unknown_ids(manifest.spec.members, 32)[:UNKNOWN_IDS],
        inputs=(_named(image, golden.images.shape, "inputs"),),
        outputs=(_named(logits, shape, "member-{id}"),),
    )


def read_index(folder: Path, bundle: Path, found: Identified) -> GoldenIndex | None:
    """`golden.json` of a folder of outputs for a bundle, None where there is none.

    Raises:
        ParityError: it cannot be read, or was written for another bundle.
    """
    path = folder / GOLDEN_INDEX
    try:
        index = from_json(GoldenIndex, read_json(path, MAX_INDEX_BYTES))
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


def _named(tensor: TensorSpec, shape: Sequence[int], folder: str) -> NamedFile:
    stem = f"{folder}/{tensor.name}"
    return NamedFile(name=tensor.name, dtype=tensor.dtype, shape=tuple(shape), npy=f"{stem}.npy", raw=f"{stem}.raw")


def _sha256(found: Identified) -> str:
    return found.digest.removeprefix(DIGEST_PREFIX)
