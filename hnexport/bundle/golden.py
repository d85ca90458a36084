"""`golden.safetensors`: samples and every member's reference outputs, so that any loader can check itself."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hnexport.bundle.golden_version1 import read_tensors1
from hnexport.bundle.manifest import Manifest, read_manifest
from hnexport.errors import BundleError
from hnexport.names import EXTREME, GOLDEN_FILE
from hnexport.reading import ReadError, parse_json, regular_size, shown
from hnexport.records import RecordError, from_json
from hnexport.rows import LARGEST_NOISE, taken
from hnexport.spec import MEMBER, Signature, TensorSpec
from hnexport.spec.precision import Precision

__all__ = ["Golden", "golden_of", "read_golden", "some_samples", "within", "write_golden"]

Array = NDArray[np.generic]

_METADATA = "hnexport.golden"
_MEMBERS, _INPUT, _OUTPUT, _EAGER, _NOISE = "members", "input.", "output.", "eager.", "noise."
_RESIZED, _CONDITION = "resized.", "condition."
_MOST_PARTS = 64
# As safetensors names them.
_CODES = MappingProxyType(
    {
        "bool": "BOOL",
        "uint8": "U8",
        "int8": "I8",
        "int16": "I16",
        "int32": "I32",
        "int64": "I64",
        "uint16": "U16",
        "uint32": "U32",
        "uint64": "U64",
        "float16": "F16",
        "float32": "F32",
        "float64": "F64",
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """The reference that artifacts are compared with.

    Attributes:
        inputs: by name `[sample, …]` in the signature's dtype; of an input without a batch axis its one value.
        kinds: what each sample is, in words.
        members: int64 `[member]`: the members that were computed (all, or a sample of a large ensemble).
        outputs: by name `[member, sample, …]`: PyTorch in float64, outputs that are not floating-point as they are. An
            output without a batch axis is `[member, …]`, of all samples in one batch.
        eager: of each floating-point output, float64 `[member, sample]`: relative L2 error of PyTorch in float32.
            (`[member, 1]` where the output has no batch axis.)
        noise: of every output, of the same shapes: how far float32 arithmetic may be off by chance, see
            `hnexport.parity.noise`; 0 where it is not known. Of an output that is not floating-point it is the share of
            a row's elements that float32 may choose otherwise.
        fingerprints: of the stored tensors that the outputs come from, by name; see `hnexport.bundle.fingerprints`.
        spoils: by floating-point input, the outputs that are all NaN of a sample that is NaN there; None where it is
            not known.
        conditions: members and some of the samples again with other conditions, one part for each of these; empty where
            the signature has none.
        resized: the first of the members and some of the samples again, with axes of any size (other than the batch)
            one shorter; None where there are none, or the network cannot run them.
    """

    inputs: Mapping[str, Array]
    kinds: tuple[str, ...]
    members: NDArray[np.int64]
    outputs: Mapping[str, Array]
    eager: Mapping[str, NDArray[np.float64]]
    noise: Mapping[str, NDArray[np.float64]]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    spoils: Mapping[str, tuple[str, ...]] | None = None
    resized: "Golden | None" = None
    conditions: "tuple[Golden, ...]" = ()

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.kinds)


def some_samples(golden: Golden, signature: Signature, rows: Sequence[int]) -> Golden:
    """Some of the samples, by their positions; every output has a batch axis."""
    return dataclasses.replace(
        golden,
        inputs=taken(signature, golden.inputs, rows),
        kinds=tuple(golden.kinds[row] for row in rows),
        outputs={name: array[:, rows] for name, array in golden.outputs.items()},
        eager={name: array[:, rows] for name, array in golden.eager.items()},
        noise={name: array[:, rows] for name, array in golden.noise.items()},
    )


def within(golden: Golden, signature: Signature, precision: Precision) -> Golden:
    """The samples that a precision can be asked for: float16 ends at 65504, so that sums of `extreme` ones overflow.

    Where an output is of all samples together, none can be left out.
    """
    rows = [row for row, kind in enumerate(golden.kinds) if kind != EXTREME]
    if precision is not Precision.FLOAT16 or not rows or not all(output.has_batch for output in signature.outputs):
        return golden
    return some_samples(golden, signature, rows)


@dataclass(frozen=True, kw_only=True)
class GoldenDescription:
    """The metadata, as JSON.

    Attributes:
        kinds: what each sample is, in words.
        fingerprints: the SHA-256 of each stored tensor that the outputs come from, by name, in hexadecimal.
        spoils: by floating-point input (`image`, all of it; `image:7`, every seventh number) the outputs of a sample
            that are all NaN when it is NaN there; None where it is not known.
        resized: the kinds of the samples that were run again with shorter axes.
        conditions: for each further condition, the kinds of its samples.
    """

    kinds: tuple[str, ...]
    fingerprints: Mapping[str, str]
    spoils: Mapping[str, tuple[str, ...]] | None = None
    resized: tuple[str, ...] = ()
    conditions: tuple[tuple[str, ...], ...] = ()


def write_golden(folder: Path, golden: Golden) -> None:
    """Write `golden.safetensors` into a bundle folder; the arrays keep their dtypes.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = _named(golden)
    if golden.resized is not None:
        tensors |= {f"{_RESIZED}{name}": array for name, array in _named(golden.resized).items()}
    for number, part in enumerate(golden.conditions):
        tensors |= {f"{_CONDITION}{number}.{name}": array for name, array in _named(part).items()}
    described: dict[str, Any] = {"kinds": golden.kinds, "fingerprints": dict(golden.fingerprints)}
    if golden.spoils is not None:
        described["spoils"] = dict(golden.spoils)
    if golden.resized is not None:
        described["resized"] = golden.resized.kinds
    if golden.conditions:
        described["conditions"] = [part.kinds for part in golden.conditions]
    # One key: safetensors writes several in an order that changes from run to run.
    save_file(tensors, folder / GOLDEN_FILE, metadata={_METADATA: json.dumps(described, sort_keys=True)})
    (folder / GOLDEN_FILE).chmod(0o644)  # safetensors writes files that only their owner may read


def _named(golden: Golden) -> dict[str, Array]:
    """All tensors by their names in the file."""
    tensors: dict[str, Array] = {_MEMBERS: golden.members}
    for prefix, arrays in (
        (_INPUT, golden.inputs),
        (_OUTPUT, golden.outputs),
        (_EAGER, golden.eager),
        (_NOISE, golden.noise),
    ):
        tensors |= {f"{prefix}{name}": np.asarray(array, order="C") for name, array in arrays.items()}
    return tensors


def read_golden(folder: Path, manifest: Manifest | None = None) -> Golden:
    """Read `golden.safetensors` of a bundle; dtypes and shapes are checked before any tensor is read.

    Args:
        manifest: the bundle's, where it was read before.

    Raises:
        BundleError: it is missing or damaged, or not what the manifest asks for.
    """
    path, manifest = folder / GOLDEN_FILE, manifest or read_manifest(folder)

    def opened() -> Any:
        regular_size(path)
        return safe_open(path, framework="numpy")

    return golden_of(opened, str(path), manifest)


def golden_of(opened: Callable[[], Any], place: str, manifest: Manifest) -> Golden:
    """The golden samples of a file that `opened` opens, as `safetensors.safe_open` does.

    Args:
        place: of the file, in messages.

    Raises:
        BundleError: it is damaged, or not what the manifest asks for.
    """
    try:
        with opened() as file:
            described = parse_json((file.metadata() or {}).get(_METADATA, ""), f"its metadata {_METADATA}")
            facts = _read_description(described, manifest)
            kinds, resized, others = facts.kinds, None, []
            if manifest.schema_version == 1:
                members, tensors = read_tensors1(file, manifest, len(kinds))
            else:
                members, tensors = _read_tensors(file, manifest, len(kinds))
                resized = _read_part(file, manifest, facts.resized, _RESIZED) if facts.resized else None
                for number, own in enumerate(facts.conditions):
                    others.append(_read_part(file, manifest, own, f"{_CONDITION}{number}."))
        _check_values(members, tensors, manifest)
    except (OSError, SafetensorError, ReadError, RecordError) as error:
        raise BundleError(f"{place} cannot be read: {error}; copy or build the bundle again") from error
    return Golden(
        kinds=kinds,
        fingerprints=facts.fingerprints,
        spoils=facts.spoils,
        members=members,
        resized=resized,
        conditions=tuple(others),
        **tensors,
    )


def _read_part(file: Any, manifest: Manifest, kinds: tuple[str, ...], before: str) -> Golden:
    """The samples with shorter axes, or with other conditions.

    Raises:
        ReadError: as `_read_tensors` and `_check_values`.
    """
    members, tensors = _read_tensors(file, manifest, len(kinds), before)
    _check_values(members, tensors, manifest)
    held: dict[str, Any] = dict(tensors)
    return Golden(kinds=kinds, members=members, **held)


def _read_tensors(
    file: Any, manifest: Manifest, samples: int, before: str = ""
) -> tuple[Any, dict[str, dict[str, Array]]]:
    """The tensors, after their dtypes and shapes in the header fit each other and the signature.

    Args:
        before: what stands before their names.

    Raises:
        ReadError: one is missing, or of another dtype or shape.
    """
    held = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping

    def read(name: str, dtype: str, shape: tuple[int | str, ...]) -> Array:
        name = f"{before}{name}"
        if name not in held:
            raise ReadError(f"it has no tensor {name}")
        found = (held[name].get_dtype(), tuple(held[name].get_shape()))
        fits = len(found[1]) == len(shape) and all(
            isinstance(size, str) or size == have for size, have in zip(shape, found[1], strict=True)
        )
        if found[0] != _CODES.get(dtype) or not fits:
            raise ReadError(
                f"expected {name} of dtype {_CODES.get(dtype)} and shape {shown(list(shape))}, "
                f"found {found[0]} and {shown(list(found[1]))}"
            )
        return file.get_tensor(name)  # type: ignore[no-any-return]

    members = read(_MEMBERS, "int64", (MEMBER,))
    count, signature = len(members), manifest.signature
    if not samples or not count:
        raise ReadError(f"it has {samples} samples and {count} members, expected at least one of each")
    tensors: dict[str, dict[str, Array]] = {
        "inputs": {
            item.name: read(f"{_INPUT}{item.name}", item.dtype, _sized(item, samples)) for item in signature.inputs
        },
        "outputs": {},
        "eager": {},
        "noise": {},
    }
    for output in signature.outputs:
        dtype = "float64" if output.is_floating else output.dtype
        tensors["outputs"][output.name] = read(f"{_OUTPUT}{output.name}", dtype, (count, *_sized(output, samples)))
        rows = (count, samples if output.has_batch else 1)
        if output.is_floating:
            tensors["eager"][output.name] = read(f"{_EAGER}{output.name}", "float64", rows)
        if output.is_floating or f"{before}{_NOISE}{output.name}" in held:
            tensors["noise"][output.name] = read(f"{_NOISE}{output.name}", "float64", rows)
        else:
            tensors["noise"][output.name] = np.zeros(rows)
    return members, tensors


def _sized(tensor: TensorSpec, samples: int) -> tuple[int | str, ...]:
    return (samples, *tensor.row) if tensor.has_batch else tensor.shape


def _read_description(described: Any, manifest: Manifest) -> GoldenDescription:
    """Kinds, fingerprints and what a NaN spoils.

    Raises:
        ReadError: there is not one fingerprint for each stored tensor, or what is spoilt does not exist.
    """
    found = from_json(GoldenDescription, described, f"metadata {_METADATA}: $")
    names = {stored.name for stored in manifest.stored}
    different = names.symmetric_difference(found.fingerprints)
    if different:
        raise ReadError(f"expected a fingerprint of each stored tensor and no other, found otherwise: {min(different)}")
    for name, value in found.fingerprints.items():
        if re.fullmatch(r"[0-9a-f]{64}", value) is None:
            raise ReadError(f"the fingerprint of {name} is {shown(value)}, expected 64 hexadecimal digits")
    signature = manifest.signature
    if len(found.conditions) > (_MOST_PARTS if signature.conditions else 0):
        raise ReadError(
            f"conditions: {len(found.conditions)} of them, expected at most {_MOST_PARTS}, where it has any"
        )
    inputs = {item.name for item in signature.inputs if item.is_floating}
    outputs = {item.name for item in signature.outputs if item.is_floating}
    for key, spoilt in (found.spoils or {}).items():
        if key.partition(":")[0] not in inputs or not outputs.issuperset(spoilt):
            raise ReadError(f"spoils: {shown(key)} or {shown(list(spoilt))} is no floating-point input or output")
    return found


def _check_values(found: Array, tensors: Mapping[str, Mapping[str, Array]], manifest: Manifest) -> None:
    """Refuse members that do not exist or stand twice, and references that are not finite."""
    members = found.tolist()
    if len(set(members)) < len(members) or not all(0 <= member < manifest.members for member in members):
        raise ReadError(f"expected different members of 0 to {manifest.members - 1}, found {shown(members)}")
    for what in ("outputs", "eager", "noise"):
        for name, array in tensors[what].items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ReadError(f"{what} {name} holds numbers that are not finite: nothing can be compared with them")
            if what == "outputs":
                continue
            share = name not in tensors["eager"]  # of the elements of a row that is not floating-point
            most = 1.0 if share else LARGEST_NOISE
            numbers = np.asarray(array, dtype=np.float64)
            if not ((numbers >= 0) & (numbers <= most)).all():
                raise ReadError(f"{what} {name} holds numbers outside of 0 to {most:g}")
