"""What an ensemble is, as data: signature, slots, stored tensors, and how slots are generated. Standard library."""

from hnexport.spec.hypernet import Activation, BasisDtype, Chunking, HypernetSpec, Source
from hnexport.spec.tensors import (
    BATCH,
    MEMBER,
    OutputKind,
    OutputSpec,
    Signature,
    Slot,
    StoredKind,
    StoredTensor,
    TensorSpec,
    stored_as,
)

__all__ = [
    "BATCH",
    "MEMBER",
    "Activation",
    "BasisDtype",
    "Chunking",
    "HypernetSpec",
    "OutputKind",
    "OutputSpec",
    "Signature",
    "Slot",
    "Source",
    "StoredKind",
    "StoredTensor",
    "TensorSpec",
    "stored_as",
]
