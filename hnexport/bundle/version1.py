"""Manifests of schema version 1, written by hnexport 0.1: Wide ResNets alone, whose specification says everything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hnexport.bundle.manifest import ArtifactParity, BasisRounding, FileRecord, Format, Manifest, OnnxInfo
from hnexport.errors import BundleError
from hnexport.families import WIDE_RESNET, family
from hnexport.names import COND_ID
from hnexport.reading import shown
from hnexport.records import from_json, to_json
from hnexport.spec import TensorSpec
from hnexport.spec.source import EnsembleSource

__all__ = ["read_version1"]


@dataclass(frozen=True, kw_only=True)
class Manifest1:
    """As it was written.

    Attributes:
        schema: what this is.
        schema_version: of what this is.
        name: what the ensemble is called.
        origin: where the weights come from, in words.
        spec: of the Wide ResNet, its recipe and its hypernetwork.
        inputs: of `model.onnx`: the condition id and the image.
        outputs: the logits.
        formats: those that the bundle holds.
        onnx: about the ONNX files; None without any.
        files: every file of the bundle but the manifest, by name.
        versions: of the libraries that wrote the bundle.
        parity: by artifact; empty where the bundle was built without verification.
        basis_rounding: None where the build rounded nothing.
    """

    schema: str
    schema_version: int
    name: str
    origin: str
    spec: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    formats: tuple[Format, ...]
    onnx: OnnxInfo | None
    files: Mapping[str, FileRecord]
    versions: Mapping[str, str]
    parity: Mapping[str, ArtifactParity] = field(default_factory=dict)
    basis_rounding: BasisRounding | None = None


def read_version1(value: Any) -> Manifest:
    """A manifest of version 1 as one of today, which keeps the version.

    Raises:
        RecordError, SpecError, BundleError: it is not valid.
    """
    found = from_json(Manifest1, value)
    wide_resnet = family(WIDE_RESNET)
    wide_resnet.check(found.spec, sum(record.size_bytes for record in found.files.values()))
    described = wide_resnet.described(found.spec)
    if described is None:
        raise BundleError("$.spec: says nothing about the ensemble")
    inputs = (TensorSpec(name=COND_ID, dtype="int64", shape=()), *described.signature.inputs)
    for what, tensors, expected in (
        ("inputs", found.inputs, inputs),
        ("outputs", found.outputs, described.signature.outputs),
    ):
        known = [(tensor.name, tensor.dtype, tensor.shape) for tensor in expected]
        if [(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors] != known:
            raise BundleError(
                f"$.{what}: the specification gives {shown([list(one) for one in known], 200)}, "
                f"found {shown(to_json(tensors), 200)}"
            )
    return Manifest(
        schema=found.schema,
        schema_version=found.schema_version,
        name=found.name,
        origin=found.origin,
        members=described.members,
        source=EnsembleSource(family=WIDE_RESNET, spec=found.spec),
        inputs=inputs,
        outputs=described.signature.outputs,
        slots=described.slots,
        stored=described.stored,
        formats=found.formats,
        onnx=found.onnx,
        files=found.files,
        versions=found.versions,
        parity=found.parity,
        basis_rounding=found.basis_rounding,
    )
