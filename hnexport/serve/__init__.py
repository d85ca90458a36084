"""A bundle as a service over HTTP: the Open Inference Protocol (v2) and plain JSON, metrics, and a page about them.

    hnexport serve BUNDLE

Requests for one member that come within a few milliseconds are computed as one batch. Needs the extra `serve`
(starlette, uvicorn, prometheus_client), and neither torch nor onnx.
"""

from hnexport.serve.lifecycle import serve
from hnexport.serve.settings import ServeOptions

__all__ = ["ServeOptions", "serve"]
