"""The bundle: the directory that `hnexport build` writes and every loader reads.

`hnexport.runtime` reads bundles with the modules of this package, which import neither torch nor onnx. Those that do
(`onnx_data`, `onnx_tensors`, `restore`, `supplied`) serve building and parity, and are imported where they are used.
"""

from hnexport.bundle.golden import Golden, read_golden, write_golden
from hnexport.bundle.manifest import (
    ArtifactParity,
    FileRecord,
    Format,
    Manifest,
    OnnxInfo,
    read_identified,
    read_manifest,
    write_manifest,
)
from hnexport.names import GOLDEN_FILE, MANIFEST_FILE

__all__ = [
    "GOLDEN_FILE",
    "MANIFEST_FILE",
    "ArtifactParity",
    "FileRecord",
    "Format",
    "Golden",
    "Manifest",
    "OnnxInfo",
    "read_golden",
    "read_identified",
    "read_manifest",
    "write_golden",
    "write_manifest",
]
