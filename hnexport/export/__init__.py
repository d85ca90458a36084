"""One capture of an ensemble, and every file format written from it."""

import hnexport.complete  # noqa: F401  # first: it says what is missing

# isort: split
from hnexport.export.capture import Capture, capture
from hnexport.export.onnx import OnnxFiles, write_onnx
from hnexport.export.pt2 import write_pt2
from hnexport.export.torchscript import write_torchscript

__all__ = ["Capture", "OnnxFiles", "capture", "write_onnx", "write_pt2", "write_torchscript"]
