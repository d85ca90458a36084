"""What a manifest may say beyond its schema: names that stay in the folder, figures that agree with each other."""

import dataclasses
import math
import re
from collections.abc import Iterable

from hnexport.bundle.digest import parse_digest
from hnexport.bundle.manifest import FORMAT_FILES, BasisJudgement, FileRecord, Format, Manifest
from hnexport.bundle.table_checks import check_lengths, check_tables
from hnexport.errors import BundleError, SpecError
from hnexport.families import Described, family, image_input
from hnexport.hypernet.storage import ALIGNMENT_BYTES
from hnexport.names import COND_ID, MANIFEST_FILE, PT2_FILE, RESERVED, TORCHSCRIPT_FILE, WEIGHTS_FILE
from hnexport.reading import is_plain_name, shown
from hnexport.records import to_json
from hnexport.spec import OutputKind, TensorSpec

__all__ = ["check_manifest"]

MAX_FILES = 1000
MAX_FILE_BYTES = 2**50

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = {Format.ONNX: WEIGHTS_FILE, Format.TORCHSCRIPT: TORCHSCRIPT_FILE, Format.PT2: PT2_FILE}
_FORMAT_OF = {"onnx": Format.ONNX, "openvino": Format.ONNX, "torchscript": Format.TORCHSCRIPT, "pt2": Format.PT2}


def check_manifest(manifest: Manifest) -> None:
    """Check everything that can be checked without opening a file of the bundle.

    The order matters: numbers of slots are bounded before a table of slots is made, sizes before they are summed.

    Raises:
        BundleError: the first thing that is wrong, with its path in the manifest.
        SpecError: a specification, a signature or a table contradicts itself.
    """
    _check_files(manifest)
    _check_formats(manifest)
    check_lengths(manifest)
    _check_source(manifest)
    _check_signature(manifest)
    check_tables(manifest)
    _check_stored(manifest)
    _check_onnx(manifest)
    _check_parity(manifest)
    _check_rounding(manifest)
    _check_trained(manifest)
    _check_temperature(manifest)
    _check_anytime(manifest)
    _check_usage(manifest)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BundleError(message)


def _check_files(manifest: Manifest) -> None:
    _require(len(manifest.files) <= MAX_FILES, f"$.files: {len(manifest.files)} files, at most {MAX_FILES} are read")
    for name, record in manifest.files.items():
        _require(
            is_plain_name(name) and name.casefold() != MANIFEST_FILE,
            f"$.files: {shown(name)} is not the plain name of a file beside the manifest",
        )
        _check_record(f"$.files[{shown(name)}]", record)


def _check_record(path: str, record: FileRecord) -> None:
    _require(
        0 <= record.size_bytes <= MAX_FILE_BYTES,
        f"{path}.size_bytes: expected 0 to {MAX_FILE_BYTES} bytes, found {record.size_bytes}",
    )
    _require(
        _SHA256.fullmatch(record.sha256) is not None,
        f"{path}.sha256: expected 64 hexadecimal digits, found {shown(record.sha256)}",
    )


def _check_formats(manifest: Manifest) -> None:
    formats = manifest.formats
    _require(len(formats) > 0, "$.formats: empty, a bundle holds at least one format")
    _require(len(set(formats)) == len(formats), f"$.formats: a format stands twice in {', '.join(formats)}")
    for file_format, names in FORMAT_FILES.items():
        for name in names:
            held = name in manifest.files
            if file_format in formats:
                _require(held, f"$.files: {name} is missing, the format {file_format} has it")
            else:
                _require(not held, f"$.formats: {file_format} is missing, $.files has its {name}")
    _require(
        (manifest.onnx is not None) == (Format.ONNX in formats),
        "$.onnx: expected exactly where $.formats has onnx",
    )


def _check_source(manifest: Manifest) -> None:
    """What the family's specification says, where it says all, has to be what the manifest's tables say."""
    source, listed = manifest.source, sum(record.size_bytes for record in manifest.files.values())
    found = family(source.family)
    found.check(source.spec, listed)
    expected = found.described(source.spec)
    if expected is None:
        found.check_described(manifest, source.spec)
        return
    for what in ("name", "members", "signature", "slots", "stored"):
        if getattr(manifest, what) != getattr(expected, what):
            raise BundleError(
                f"$: {what} is not that of the specification in $.source.spec: {_first(manifest, expected, what)}"
            )


def _first(manifest: Manifest, expected: Described, what: str) -> str:
    found, wanted = getattr(manifest, what), getattr(expected, what)
    if isinstance(found, tuple):
        for one, other in zip(found, wanted, strict=False):
            if one != other:
                return f"expected {shown(to_json(other), 200)}, found {shown(to_json(one), 200)}"
        return f"expected {len(wanted)} of them, found {len(found)}"
    values = [to_json(value) if dataclasses.is_dataclass(value) else value for value in (wanted, found)]
    return f"expected {shown(values[0], 200)}, found {shown(values[1], 200)}"


def _check_stored(manifest: Manifest) -> None:
    """The tensors that are stored have to be in each format's file: nothing else bounds `members`."""
    needed = sum(item.size_bytes for item in manifest.stored)
    for file_format in manifest.formats:
        name = _WEIGHTS[file_format]
        size = manifest.files[name].size_bytes
        _require(needed <= size, f"$.stored: {needed} bytes of tensors, {name} has {size}")
    if Format.ONNX in manifest.formats:
        pages = (-(-item.size_bytes // ALIGNMENT_BYTES) for item in manifest.stored)
        most, size = ALIGNMENT_BYTES * sum(pages), manifest.files[WEIGHTS_FILE].size_bytes
        _require(
            most - ALIGNMENT_BYTES < size <= most,
            f"$.stored: {most} bytes in pages of {ALIGNMENT_BYTES}, {WEIGHTS_FILE} has {size}",
        )


def _check_signature(manifest: Manifest) -> None:
    first = manifest.inputs[:1]
    _require(
        first == (TensorSpec(name=COND_ID, dtype="int64", shape=()),),
        f"$.inputs: expected {COND_ID} first, an int64 scalar, found {shown([to_json(item) for item in first])}",
    )
    signature = manifest.signature  # its own checks, of conditions too
    for tensor in (*signature.inputs, *signature.outputs):
        _require(
            tensor.name not in RESERVED and is_plain_name(tensor.name),
            f"$: {shown(tensor.name)} cannot be the name of an input or output",
        )
        _require(
            tensor.dtype != "bfloat16",
            f"$: {shown(tensor.name)} is in bfloat16, which numpy does not have: no input or output is",
        )


def _check_onnx(manifest: Manifest) -> None:
    if manifest.onnx is None:
        return
    slots = {slot.name for slot in manifest.slots}
    supplied = manifest.onnx.supplied
    _require(len(set(supplied)) == len(supplied), "$.onnx.supplied: a name stands twice")
    unknown = next((name for name in supplied if name not in slots), None)
    _require(unknown is None, f"$.onnx.supplied: {shown(unknown)} is no slot")
    _require(manifest.onnx.opset >= 1 and manifest.onnx.ir_version >= 1, "$.onnx: expected versions of at least 1")


def _check_parity(manifest: Manifest) -> None:
    for name, found in manifest.parity.items():
        path = f"$.parity[{shown(name)}]"
        file_format = _FORMAT_OF.get(name.partition("-")[0])
        _require(file_format in manifest.formats, f"{path}: the bundle holds no such artifact")
        _check_figures(path, (found.relative_l2, found.multiple_of_eager))
        _require(
            0 < found.members_checked <= manifest.members,
            f"{path}.members_checked: expected 1 to {manifest.members}, found {found.members_checked}",
        )


def _check_rounding(manifest: Manifest) -> None:
    rounding = manifest.basis_rounding
    if rounding is not None:
        _check_figures("$.basis_rounding", (rounding.bases, rounding.logits))
        _require(
            rounding.agreement is None or 0 <= rounding.agreement <= 1,
            f"$.basis_rounding.agreement: expected a share from 0 to 1, found {rounding.agreement}",
        )
        _require(
            all(0 <= member < manifest.members for member in rounding.members),
            f"$.basis_rounding.members: expected members 0 to {manifest.members - 1}",
        )
        if rounding.judged is not None:
            _check_judged("$.basis_rounding.judged", rounding.judged)


def _check_judged(path: str, judged: BasisJudgement) -> None:
    _require("/" not in judged.data, f"{path}.data: {shown(judged.data)} is not the name of a file without its folder")
    _require(judged.samples >= 1, f"{path}.samples: expected at least 1, found {judged.samples}")
    _check_figures(path, (judged.relative_l2,))
    shares = (judged.agreement, judged.accuracy, judged.accuracy_before)
    _require(all(0 <= share <= 1 for share in shares if share is not None), f"{path}: expected shares from 0 to 1")


def _check_trained(manifest: Manifest) -> None:
    found = manifest.as_trained
    if found is None:
        return
    path = "$.as_trained"
    _check_figures(path, (found.relative_l2, found.tolerance))
    _require(found.relative_l2 <= found.tolerance, f"{path}: an error of {found.relative_l2} is above the tolerance")
    _require("/" not in found.file, f"{path}.file: {shown(found.file)} is not the name of a file without its folder")
    _require(found.samples >= 1, f"{path}.samples: expected at least 1, found {found.samples}")
    _require(
        len(found.members) > 0 and all(0 <= member < manifest.members for member in found.members),
        f"{path}.members: expected members 0 to {manifest.members - 1}",
    )
    known = {output.name for output in manifest.outputs}
    _require(
        bool(found.outputs) and known.issuperset(found.outputs),
        f"{path}.outputs: expected some of {shown(sorted(known))}, found {shown(list(found.outputs))}",
    )


def _check_temperature(manifest: Manifest) -> None:
    found = manifest.temperature
    if found is None:
        return
    logits = {output.name for output in manifest.outputs if output.kind is OutputKind.LOGITS}
    path = "$.temperature"
    _require(found.output in logits, f"{path}.output: {shown(found.output)} is no output of logits")
    _require(
        math.isfinite(found.value) and found.value > 0, f"{path}.value: expected a number above 0, found {found.value}"
    )
    _require(found.rows >= 1, f"{path}.rows: expected at least 1, found {found.rows}")
    parse_digest(found.source)


def _check_anytime(manifest: Manifest) -> None:
    found, path = manifest.anytime, "$.anytime"
    if found is None:
        return
    only = manifest.outputs[0]
    _require(
        len(manifest.outputs) == 1 and only.kind is OutputKind.LOGITS and len(only.shape) == 2,
        f"{path}: expected a network whose only output is logits [batch, class]",
    )
    _require(
        len(found.order) == manifest.members and sorted(found.order) == list(range(manifest.members)),
        f"{path}.order: expected each of {manifest.members} members once, found {shown(list(found.order))}",
    )
    _require(
        1 <= found.least <= manifest.members,
        f"{path}.least: expected 1 to {manifest.members} members, found {found.least}",
    )
    _require(
        found.least <= found.members <= manifest.members,
        f"{path}.members: expected a mean of {found.least} to {manifest.members}, found {found.members}",
    )
    _require(found.rows >= 1, f"{path}.rows: expected at least 1, found {found.rows}")
    shares = {"confidence": found.confidence, "level": found.level, **found.stated}
    _require(bool(found.stated), f"{path}: expected a stated loss, max_accuracy_drop for instance")
    for name, value in shares.items():
        _require(0.0 < value < 1.0, f"{path}.{name}: expected a number above 0 and below 1, found {value}")
    parse_digest(found.source)


def _check_usage(manifest: Manifest) -> None:
    try:
        manifest.usage.check(manifest.signature, image_input(manifest))
    except SpecError as error:
        raise BundleError(f"$.usage: {error}") from error


def _check_figures(path: str, figures: Iterable[float]) -> None:
    for figure in figures:
        _require(math.isfinite(figure) and figure >= 0, f"{path}: expected a number of at least 0, found {figure}")
