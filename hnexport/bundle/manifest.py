"""`manifest.json`: what a bundle holds, how to call it, and the checksum of every file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from hnexport.bundle.digest import check_digest, digest_of, parse_digest
from hnexport.bundle.fitted import Anytime, Temperature
from hnexport.errors import BundleError, SpecError
from hnexport.names import (
    ENSEMBLE_FILE,
    HYPERNET_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    NETWORK_FILE,
    PT2_FILE,
    TORCHSCRIPT_FILE,
    WEIGHTS_FILE,
)
from hnexport.reading import MissingFileError, ReadError, parse_json, read_bytes, shown
from hnexport.records import SPARSE, RecordError, from_json, to_json
from hnexport.spec import OutputSpec, Signature, Slot, StoredTensor, TensorSpec
from hnexport.spec.source import EnsembleSource
from hnexport.spec.usage import Usage

__all__ = [
    "FORMAT_FILES",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Anytime",
    "ArtifactParity",
    "AsTrained",
    "BasisJudgement",
    "BasisRounding",
    "FileRecord",
    "Format",
    "Identified",
    "Manifest",
    "OnnxInfo",
    "Temperature",
    "identified",
    "read_identified",
    "read_manifest",
    "write_manifest",
]

SCHEMA = "hnexport-bundle"
SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, 2)
MAX_MANIFEST_BYTES = 16 * 2**20  # one of WRN-28-10 has 8 kB


class Format(StrEnum):
    """The file formats that a bundle may hold."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    PT2 = "pt2"


FORMAT_FILES: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {
        Format.ONNX: (MODEL_FILE, ENSEMBLE_FILE, HYPERNET_FILE, NETWORK_FILE, WEIGHTS_FILE),
        Format.TORCHSCRIPT: (TORCHSCRIPT_FILE,),
        Format.PT2: (PT2_FILE,),
    }
)
"""The files that a bundle of each format holds."""


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and checksum of one file of the bundle.

    Attributes:
        size_bytes: its size.
        sha256: of its bytes, in hexadecimal.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class OnnxInfo:
    """About the ONNX files.

    Attributes:
        opset: of ONNX operators.
        ir_version: of the ONNX format.
        supplied: the slots that `network.onnx` leaves to its loader, which takes them from the outputs of
            `hypernet.onnx`; in the order in which they lie in `member.bin`.
    """

    opset: int
    ir_version: int
    supplied: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ArtifactParity:
    """The worst that parity found in one artifact; details in `parity.json`.

    Attributes:
        relative_l2: largest relative L2 error of a row of an output against the float64 reference.
        multiple_of_eager: largest ratio of that error to float32 eager PyTorch's own.
        members_checked: how many were compared.
    """

    relative_l2: float
    multiple_of_eager: float
    members_checked: int


@dataclass(frozen=True, kw_only=True)
class BasisJudgement:
    """What rounding the bases changed in the answers to data: those of the mean of all members, in float32.

    Attributes:
        data: the name of the file or folder, without where it lies.
        samples: how many of them.
        relative_l2: difference of the mean, over all samples: of probabilities where the output is logits.
        agreement: share of answers that are the same as before; None where the judged output is no logits.
        accuracy: share of right answers; None where the data do not say what is right.
        accuracy_before: the same of the bases before they were rounded.
    """

    data: str
    samples: int
    relative_l2: float
    agreement: float | None = None
    accuracy: float | None = None
    accuracy_before: float | None = None


@dataclass(frozen=True, kw_only=True)
class BasisRounding:
    """What the build changed when it rounded the bases; no artifact's error, see `hnexport.parity.rounding`.

    Attributes:
        bases: largest relative L2 difference of a basis.
        logits: largest relative L2 difference of a row of an output, PyTorch in float64 on both sides.
        members: those whose outputs were compared, each with every golden sample.
        agreement: of outputs of logits, the share of their rows whose largest class is the same; None without any.
        judged: on data of the builder's; None without any.
    """

    bases: float
    logits: float
    members: tuple[int, ...]
    agreement: float | None = field(default=None, metadata=SPARSE)
    judged: BasisJudgement | None = field(default=None, metadata=SPARSE)


@dataclass(frozen=True, kw_only=True)
class AsTrained:
    """What the build compared with a trained model's own outputs; see `hnexport.parity.trained`.

    Attributes:
        file: the name of the file that holds them, without its folder.
        members: those that it has outputs of.
        samples: how many, of each member.
        outputs: the names of those that were compared.
        relative_l2: largest relative L2 error of a row.
        tolerance: what that row may have.
    """

    file: str
    members: tuple[int, ...]
    samples: int
    outputs: tuple[str, ...]
    relative_l2: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The manifest of a bundle.

    Attributes:
        schema: what this is.
        schema_version: that in which it was written.
        name: what the ensemble is called.
        origin: where the weights come from, in words.
        members: how many there are; their ids are 0 to `members` - 1.
        source: the family that the ensemble is of, and its specification.
        inputs: of `model.onnx`: the condition id `cond_id`, then the conditions, then the network's own.
        formats: those that the bundle holds, each with all of its files.
        onnx: about the ONNX files; None without any.
        usage: what whoever uses the bundle has to know beside it; not written where nobody said anything.
        conditions: the names of the inputs that `hypernet.onnx` takes beside the condition id, and `network.onnx` does
            not; not written where there are none.
        outputs: of the network, in the order of TorchScript and `.pt2`.
        slots: the network's tensors, those that are tied with their alias.
        stored: the tensors that the files hold.
        files: every file of the bundle but the manifest and the model card, by name.
        versions: of the libraries that wrote the bundle.
        parity: the worst that was found in each artifact, by its name; empty where the bundle was built without
            verification.
        basis_rounding: what rounding the bases changed. None where the build rounded nothing: the bases are float32, or
            rounded in the checkpoint too.
        as_trained: what was compared with the trained model's own outputs. None where the build had no reference.
        temperature: what every graph divides an output of logits by; nothing is to be divided again. None, and not
            written, where logits are as the network gives them.
        anytime: when members that are asked one after the other are enough. None, and not written, where nobody chose
            that.
    """

    schema: str = SCHEMA
    schema_version: int = SCHEMA_VERSION
    name: str
    origin: str
    members: int
    source: EnsembleSource
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]
    slots: tuple[Slot, ...]
    stored: tuple[StoredTensor, ...]
    formats: tuple[Format, ...]
    onnx: OnnxInfo | None
    files: Mapping[str, FileRecord]
    versions: Mapping[str, str]
    parity: Mapping[str, ArtifactParity] = field(default_factory=dict)
    basis_rounding: BasisRounding | None = None
    as_trained: AsTrained | None = None
    temperature: Temperature | None = field(default=None, metadata=SPARSE)
    anytime: Anytime | None = field(default=None, metadata=SPARSE)
    conditions: tuple[str, ...] = field(default=(), metadata=SPARSE)
    usage: Usage = field(default=Usage(), metadata=SPARSE)

    @property
    def signature(self) -> Signature:
        """What the network takes and gives, without the condition id."""
        return Signature(inputs=self.inputs[1:], outputs=self.outputs, conditions=self.conditions)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a bundle folder, over one that is there.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(to_json(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True, kw_only=True)
class Identified:
    """A manifest and the digest of the very bytes that it was read from; see `hnexport.bundle.digest`."""

    manifest: Manifest
    digest: str


def read_manifest(folder: Path) -> Manifest:
    """Read and validate a bundle's manifest; see `hnexport.bundle.manifest_checks` for what it may say.

    Raises:
        BundleError: there is none, it is not valid, or it has another schema version.
    """
    return read_identified(folder).manifest


def read_identified(folder: Path, digest: str | None = None) -> Identified:
    """Read and validate a bundle's manifest, and say which bundle it is.

    Args:
        digest: refuse any other bundle than this one, before anything of it is parsed.

    Raises:
        BundleError: there is no manifest, it is not valid, it has another schema version or another digest.
    """
    if digest is not None:
        parse_digest(digest)
    path = folder / MANIFEST_FILE
    try:
        content = read_bytes(path, MAX_MANIFEST_BYTES)
    except MissingFileError:
        raise BundleError(f"{folder} is not a bundle: it has no {MANIFEST_FILE}; `hnexport build` makes one") from None
    except ReadError as error:
        raise BundleError(f"{path} cannot be read: {error}; build the bundle again or copy it again") from error
    return identified(content, str(folder), str(path), digest)


def identified(content: bytes, place: str, path: str, digest: str | None = None) -> Identified:
    """The manifest in the bytes of a `manifest.json`, and which bundle it is.

    Args:
        place: of the bundle, in messages.
        path: of the manifest, likewise.
        digest: as `read_identified`.

    Raises:
        BundleError: it is not valid, it has another schema version or another digest.
    """
    found = digest_of(content)
    if digest is not None:
        check_digest(place, found, digest)
    return Identified(manifest=_parsed(path, content), digest=found)


def _parsed(path: str, content: bytes) -> Manifest:
    from hnexport.bundle.manifest_checks import check_manifest  # they need the classes above
    from hnexport.bundle.version1 import read_version1

    try:
        value = parse_json(content, path)
    except ReadError as error:
        raise BundleError(f"{path} cannot be read: {error}; build the bundle again or copy it again") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise BundleError(
            f"{path} is not the manifest of a bundle: its schema is not {SCHEMA!r}; give the folder that a build wrote"
        )
    version = value.get("schema_version")
    if type(version) is not int or version not in READABLE_VERSIONS:  # True and 1.0 are equal to 1
        raise BundleError(
            f"{path} has schema version {shown(version)}, this hnexport reads 1 and {SCHEMA_VERSION}: "
            "use the hnexport that wrote it, or build the bundle again"
        )
    try:
        manifest = read_version1(value) if version == 1 else from_json(Manifest, value)
        check_manifest(manifest)
    except (RecordError, SpecError, BundleError) as error:
        raise BundleError(f"{path} is not valid: {error}; build the bundle again or copy it again") from error
    return manifest
