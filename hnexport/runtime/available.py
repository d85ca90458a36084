"""Imported before every module that uses onnxruntime: where that cannot be imported, this says so in one sentence."""

from hnexport.installed import require_onnxruntime

__all__: list[str] = []

require_onnxruntime()
