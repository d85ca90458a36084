"""A bundle as a model repository of Triton Inference Server. Needs torch and onnx for plain members alone."""

from hnexport.deploy.triton.options import Device, Served, TritonOptions
from hnexport.deploy.triton.repository import TritonRepository, deploy_triton

__all__ = ["Device", "Served", "TritonOptions", "TritonRepository", "deploy_triton"]
