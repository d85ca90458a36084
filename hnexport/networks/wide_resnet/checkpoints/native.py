"""The native checkpoint: one safetensors file whose metadata holds the specification.

The format is documented in docs/reference/checkpoint-format.md, so that any training code can write it.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open

from hnexport.errors import CheckpointError, SpecError
from hnexport.networks.wide_resnet.checkpoints.checkpoint import Checkpoint
from hnexport.networks.wide_resnet.checkpoints.files import existing_file, sha256
from hnexport.networks.wide_resnet.checkpoints.one_set import warn_of_one_set
from hnexport.networks.wide_resnet.chunking import count_pieces
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.publishing import Contents, Rules, check_place, staged_file
from hnexport.reading import ReadError, open_regular, parse_json
from hnexport.records import RecordError, from_json, to_json
from hnexport.spec.assumed import Assumed
from hnexport.spec.usage import Usage
from hnexport.spelling import spelled

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "check_checkpoint_target",
    "is_native",
    "load_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
]

FORMAT = "hnexport-checkpoint"
FORMAT_VERSION = 1
DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8"}
MAX_HEADER_BYTES = 100_000_000  # as in safetensors
MAX_BLOCKS_PER_GROUP = 1000
"""A file's specification may not ask for a deeper network: the tables of slots grow with it, not with the file."""
MAX_CHUNKS = 100_000
"""Nor for more chunks of one member."""


def check_checkpoint_target(path: str | os.PathLike[str], *, replace: bool) -> None:
    """Refuse before the work what `save_checkpoint` would refuse after it.

    Raises:
        CheckpointError: there is a file already and `replace` is not set, or it is no native checkpoint.
    """
    check_place(Path(path), _rules(replace=replace), make_parent=False)


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint, *, replace: bool = True) -> None:
    """Write a native checkpoint; it appears at `path` only once it is complete.

    Args:
        replace: replace a native checkpoint that is already there. Any other file is never replaced.

    Raises:
        CheckpointError: the file cannot be written. Nothing is left behind, and what was at `path` stays.
    """
    path = Path(path)
    metadata = {
        "format": FORMAT,
        "version": str(FORMAT_VERSION),
        "spec": json.dumps(to_json(checkpoint.spec)),
        "origin": checkpoint.origin,
    }
    if checkpoint.usage != Usage():
        metadata["usage"] = json.dumps(to_json(checkpoint.usage))
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    check_checkpoint_target(path, replace=replace)
    try:
        with staged_file(path, _rules(replace=replace)) as partial:
            partial.touch()
            usual_mode = partial.stat().st_mode
            safetensors.torch.save_file(tensors, partial, metadata=metadata)
            partial.chmod(usual_mode)  # safetensors writes files that only their owner may read
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: the checkpoint could not be written: {error}") from error


def _rules(*, replace: bool) -> Rules:
    judge = _replaceable if replace else None
    return Rules(
        replaces=judge,
        error=CheckpointError,
        called="name",
        what="checkpoint",
        forced_by=spelled("replace=True", "--force"),
    )


def is_native(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a native checkpoint by its metadata, be it damaged or of another version."""
    path = Path(path)
    try:
        with open_regular(path) as file:
            size = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(size) if size <= MAX_HEADER_BYTES else b"null", str(path))
        return bool(header["__metadata__"]["format"] == FORMAT)
    except (OSError, ReadError, TypeError, KeyError):
        return False


def _replaceable(path: Path) -> Contents:
    """Nothing to list, for a file that is a native checkpoint."""
    if not is_native(path):
        raise CheckpointError(
            f"{path} exists and is not a native checkpoint: only native checkpoints are replaced; choose another name"
        )
    return Contents()


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a native checkpoint. No code from the file is run; shapes are checked before anything is allocated.

    One set of batch-norm statistics for members whose kernels differ is warned of.

    Raises:
        CheckpointError: the file is missing, damaged, of another format or version, or does not hold what its
            specification needs.
    """
    found = read_checkpoint(path)
    warn_of_one_set(Path(path).name, found)
    return found


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """`load_checkpoint` without a warning, for whoever is mending statistics."""
    path = existing_file(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            spec, usage = _read_spec(path, metadata), _read_usage(path, metadata)
            _check_shapes(path, spec, {name: file.get_slice(name) for name in file.keys()})  # noqa: SIM118
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        if zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path}: not a complete safetensors file but one of torch.save; of state dicts of hypnettorch or of "
                f"the late-phase code `hnexport convert {path} NEW.safetensors` makes one"
            ) from error
        raise CheckpointError(
            f"{path}: not a complete safetensors file ({error}); a native checkpoint is what `hnexport convert` writes"
        ) from error
    origin = f"hnexport {path.name} (sha256 {sha256(path)})"
    if metadata.get("origin"):
        origin += f", from {metadata['origin']}"
    try:
        return Checkpoint(spec=spec, tensors=tensors, origin=origin, usage=usage)
    except (CheckpointError, SpecError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_spec(path: Path, metadata: Mapping[str, str]) -> PipelineSpec:
    found = metadata.get("format")
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: expected metadata 'format' {FORMAT!r}, found {found!r}; "
            "a hypnettorch checkpoint is turned into a native one by `hnexport convert`"
        )
    if metadata.get("version") != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: this hnexport reads version {FORMAT_VERSION} of the format, found {metadata.get('version')!r}; "
            "update hnexport, or write the checkpoint with this version"
        )
    try:
        spec = from_json(PipelineSpec, parse_json(metadata.get("spec", ""), "it"))
    except (RecordError, ReadError, SpecError) as error:
        raise CheckpointError(f"{path}: metadata 'spec' is not a specification: {error}") from error
    if spec.network.blocks_per_group > MAX_BLOCKS_PER_GROUP:
        raise CheckpointError(
            f"{path}: blocks_per_group is {spec.network.blocks_per_group}, at most {MAX_BLOCKS_PER_GROUP} are read"
        )
    if count_pieces(spec) > MAX_CHUNKS:
        raise CheckpointError(f"{path}: metadata 'spec' asks for {count_pieces(spec)} chunks, at most {MAX_CHUNKS}")
    return spec


def _read_usage(path: Path, metadata: Mapping[str, str]) -> Usage:
    """What is said of the tensors; `assumed`, a list of words, is how files of older versions say a part of it."""
    older = metadata.get("assumed", "").split(", ")
    assumed = Usage(assumed=tuple(one for one in Assumed if one in older))
    if "usage" not in metadata:
        return assumed
    try:
        return assumed.updated(from_json(Usage, parse_json(metadata["usage"], "it")))
    except (RecordError, ReadError, SpecError) as error:
        raise CheckpointError(f"{path}: metadata 'usage' is not what can be said of an ensemble: {error}") from error


def _check_shapes(path: Path, spec: PipelineSpec, slices: Mapping[str, Any]) -> None:
    """Compare names, shapes and dtypes in the file's header with the specification, before any tensor is read."""
    try:
        expected = {stored.name: stored for stored in stored_tensors(spec)}
    except SpecError as error:
        raise CheckpointError(f"{path}: metadata 'spec' is not a specification: {error}") from error
    for name in (
        *(name for name in expected if name not in slices),
        *(name for name in slices if name not in expected),
    ):
        what = "is missing" if name in expected else "belongs to no slot"
        raise CheckpointError(f"{path}: tensor {name!r} {what} for {spec.name}")
    for name, stored in expected.items():
        found, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
        if found != stored.shape:
            raise CheckpointError(f"{path}: tensor {name!r}: expected shape {list(stored.shape)}, found {list(found)}")
        if dtype != DTYPES[stored.dtype]:
            raise CheckpointError(f"{path}: tensor {name!r}: expected dtype {DTYPES[stored.dtype]}, found {dtype}")
