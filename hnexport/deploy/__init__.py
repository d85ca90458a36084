"""Putting a bundle where people use it. Needs neither torch nor onnx, but for plain members in a repository of Triton.

`deploy_web` writes a folder with a web page that runs every member in the browser; `serve` shows it on this machine.
`deploy_triton` writes a model repository for Triton Inference Server.
"""

from hnexport.deploy.server import serve
from hnexport.deploy.site import WebOptions, WebSite, deploy_web
from hnexport.deploy.triton import Device, Served, TritonOptions, TritonRepository, deploy_triton

__all__ = [
    "Device",
    "Served",
    "TritonOptions",
    "TritonRepository",
    "WebOptions",
    "WebSite",
    "deploy_triton",
    "deploy_web",
    "serve",
]
