"""Putting a bundle where people use it. Needs neither torch nor onnx.

`deploy_web` writes a folder with a web page that runs every member in the browser; `serve` shows it on this machine.
"""

from hnexport.deploy.server import serve
from hnexport.deploy.site import WebOptions, WebSite, deploy_web

__all__ = ["WebOptions", "WebSite", "deploy_web", "serve"]
