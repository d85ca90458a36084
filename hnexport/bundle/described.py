"""The manifest of an ensemble that is written, or is about to be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hnexport.bundle.manifest import Format, Manifest, OnnxInfo
from hnexport.names import COND_ID
from hnexport.spec import TensorSpec

if TYPE_CHECKING:  # at run time it would load torch
    from hnexport.ensemble import Ensemble

__all__ = ["described"]


def described(
    ensemble: "Ensemble",
    *,
    formats: tuple[Format, ...] = (),
    onnx: OnnxInfo | None = None,
    versions: Mapping[str, str] | None = None,
) -> Manifest:
    """What an ensemble says of itself, without files and parity; without formats there is nothing to load yet."""
    return Manifest(
        name=ensemble.name,
        origin=ensemble.origin,
        members=ensemble.members,
        source=ensemble.source,
        inputs=(TensorSpec(name=COND_ID, dtype="int64", shape=()), *ensemble.signature.inputs),
        outputs=ensemble.signature.outputs,
        conditions=ensemble.signature.conditions,
        usage=ensemble.usage,
        slots=ensemble.slots,
        stored=ensemble.stored,
        formats=formats,
        onnx=onnx,
        files={},
        versions=versions or {},
    )
