"""Manifests of ensembles of every family, without writing a single file: tables are data."""

from hnexport.bundle.manifest import FileRecord, Format, Manifest
from hnexport.ensemble import Ensemble
from hnexport.names import COND_ID
from hnexport.spec import TensorSpec

__all__ = ["manifest_of"]


def manifest_of(ensemble: Ensemble) -> Manifest:
    """What a build that writes TorchScript alone would say, but for the file's size and checksum."""
    return Manifest(
        name=ensemble.name,
        origin=ensemble.origin,
        members=ensemble.members,
        source=ensemble.source,
        inputs=(TensorSpec(name=COND_ID, dtype="int64", shape=()), *ensemble.signature.inputs),
        outputs=ensemble.signature.outputs,
        conditions=ensemble.signature.conditions,
        slots=ensemble.slots,
        stored=ensemble.stored,
        formats=(Format.TORCHSCRIPT,),
        onnx=None,
        files={"model.pt": FileRecord(size_bytes=2**28, sha256="0" * 64)},
        versions={"hnexport": "0.2.0"},
        usage=ensemble.usage,
    )
