"""What a manifest may say beyond its schema: names that stay in the folder, figures that agree with each other."""

import math
import re
from collections.abc import Iterable

from hnexport.bundle.limits import check_expansion, check_tables, stored_bytes
from hnexport.bundle.manifest import FORMAT_FILES, MANIFEST_FILE, FileRecord, Format, Manifest, TensorSignature
from hnexport.errors import BundleError
from hnexport.hypernet.storage import ALIGNMENT_BYTES
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.reading import is_plain_name, shown

__all__ = ["check_manifest"]

MAX_FILES = 1000
MAX_FILE_BYTES = 2**50

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHTS = {Format.ONNX: "weights.bin", Format.TORCHSCRIPT: "model.pt", Format.PT2: "model.pt2"}
_FORMAT_OF = {"onnx": Format.ONNX, "openvino": Format.ONNX, "torchscript": Format.TORCHSCRIPT, "pt2": Format.PT2}


def check_manifest(manifest: Manifest) -> None:
    """Check everything that can be checked without opening a file of the bundle.

    The order matters: numbers of slots are bounded before a table of slots is made, sizes before they are summed.

    Raises:
        BundleError: the first thing that is wrong, with its path in the manifest.
    """
    _check_files(manifest)
    _check_formats(manifest)
    check_tables(manifest.spec)
    check_expansion(manifest.spec, sum(record.size_bytes for record in manifest.files.values()))
    _check_stored(manifest)
    _check_signature(manifest)
    _check_onnx(manifest)
    _check_parity(manifest)
    _check_rounding(manifest)


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


def _check_stored(manifest: Manifest) -> None:
    """The tensors that the specification stores have to be in each format's file: nothing else bounds `members`."""
    needed = stored_bytes(manifest.spec)
    for file_format in manifest.formats:
        name = _WEIGHTS[file_format]
        size = manifest.files[name].size_bytes
        _require(needed <= size, f"$.spec: stores {needed} bytes of tensors, {name} has {size}")
    if Format.ONNX in manifest.formats:
        most, size = stored_bytes(manifest.spec, ALIGNMENT_BYTES), manifest.files["weights.bin"].size_bytes
        _require(
            most - ALIGNMENT_BYTES < size <= most,
            f"$.spec: stores {most} bytes in pages of {ALIGNMENT_BYTES}, weights.bin has {size}",
        )


def _check_signature(manifest: Manifest) -> None:
    spec = manifest.spec
    dtype, shape = spec.image_input
    expected_inputs = (("cond_id", "int64", ()), ("image", dtype, (None, *shape)))
    _check_tensors("$.inputs", manifest.inputs, expected_inputs)
    _check_tensors("$.outputs", manifest.outputs, (("logits", "float32", (None, spec.network.classes)),))


def _check_tensors(
    path: str, found: tuple[TensorSignature, ...], expected: tuple[tuple[str, str, tuple[int | None, ...]], ...]
) -> None:
    """Names, dtypes and shapes; None stands for the batch axis, which has a name and any size."""
    names = [name for name, _, _ in expected]
    _require(
        [tensor.name for tensor in found] == names,
        f"{path}: expected {', '.join(names)}, found {shown([tensor.name for tensor in found])}",
    )
    for tensor, (name, dtype, shape) in zip(found, expected, strict=True):
        sizes = tuple(None if isinstance(size, str) else size for size in tensor.shape)
        wanted = ["batch" if size is None else size for size in shape]
        _require(
            (tensor.dtype, sizes) == (dtype, shape),
            f"{path}: the specification gives {name} the dtype {dtype} and the shape {wanted}, "
            f"found {shown(tensor.dtype)} and {shown(list(tensor.shape))}",
        )


def _check_onnx(manifest: Manifest) -> None:
    if manifest.onnx is None:
        return
    slots = {slot.name for slot in network_slots(manifest.spec.network)}
    supplied = manifest.onnx.supplied
    _require(len(set(supplied)) == len(supplied), "$.onnx.supplied: a name stands twice")
    unknown = next((name for name in supplied if name not in slots), None)
    _require(unknown is None, f"$.onnx.supplied: {shown(unknown)} is no tensor of {manifest.spec.network.name}")
    _require(manifest.onnx.opset >= 1 and manifest.onnx.ir_version >= 1, "$.onnx: expected versions of at least 1")


def _check_parity(manifest: Manifest) -> None:
    for name, found in manifest.parity.items():
        path = f"$.parity[{shown(name)}]"
        file_format = _FORMAT_OF.get(name.partition("-")[0])
        _require(file_format in manifest.formats, f"{path}: the bundle holds no such artifact")
        _check_figures(path, (found.relative_l2, found.multiple_of_eager))
        _require(
            0 < found.members_checked <= manifest.spec.members,
            f"{path}.members_checked: expected 1 to {manifest.spec.members}, found {found.members_checked}",
        )


def _check_rounding(manifest: Manifest) -> None:
    rounding = manifest.basis_rounding
    if rounding is not None:
        _check_figures("$.basis_rounding", (rounding.bases, rounding.logits))
        _require(
            all(0 <= member < manifest.spec.members for member in rounding.members),
            f"$.basis_rounding.members: expected members 0 to {manifest.spec.members - 1}",
        )


def _check_figures(path: str, figures: Iterable[float]) -> None:
    for figure in figures:
        _require(math.isfinite(figure) and figure >= 0, f"{path}: expected a number of at least 0, found {figure}")
