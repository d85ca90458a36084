"""The routes, as an ASGI application."""

import asyncio
import contextlib
import ipaddress
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hnexport.deploy.server import is_this_machine
from hnexport.names import COND_ID
from hnexport.serve.api import document, page_of
from hnexport.serve.body import holding, read_body
from hnexport.serve.metrics import CONTENT_TYPE
from hnexport.serve.plain import read_plain, write_plain
from hnexport.serve.protocol import HEADER_LENGTH, model_metadata, read_request, server_metadata, write_answer
from hnexport.serve.refusal import RefusedError
from hnexport.serve.service import Service, details
from hnexport.serve.work import Ran, Work
from hnexport.text import clean, shorten

__all__ = ["make_app"]

logger = logging.getLogger(__name__)

_ELSEWHERE_BYTES = 64 * 2**10
"""Bodies larger than this are read and written by another thread, so that the event loop goes on."""
_GONE = 499  # as nginx logs a client that did not wait; nobody reads the answer

Endpoint = Callable[[Service, Request], Awaitable[Response]]


def make_app(service: Service) -> ASGIApp:
    """The application of a service; whoever runs it calls `service.start` first, or meanwhile."""
    model = "/v2/models/{name}"
    routes = []
    for path, endpoint, method in (
        ("/", _page, "GET"),
        ("/openapi.json", _openapi, "GET"),
        ("/metrics", _metrics, "GET"),
        ("/predict", _predict, "POST"),
        ("/v2", _server, "GET"),
        ("/v2/health/live", _live, "GET"),
        ("/v2/health/ready", _ready, "GET"),
        ("/v2/models", _models, "GET"),
        (model, _model, "GET"),
        (f"{model}/ready", _model_ready, "GET"),
        (f"{model}/infer", _infer, "POST"),
        (f"{model}/versions/{{version}}", _model, "GET"),
        (f"{model}/versions/{{version}}/ready", _model_ready, "GET"),
        (f"{model}/versions/{{version}}/infer", _infer, "POST"),
    ):
        routes.append(Route(path, partial(_answered, service, path, endpoint), methods=[method]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: partial(_no_route, service)})
    app.router.redirect_slashes = False
    return _Guard(app, service)


class _Guard:
    """Around everything: who may ask, and that a service that stops says so on every connection."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._alone = _is_loopback(service.options.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
        if self._alone and not is_this_machine(host):  # a page elsewhere may let a name of its own mean 127.0.0.1
            await _error(421, "only localhost is served")(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and self._service.draining:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, sending)


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches a service that listens there: 127.0.0.2 is such an address too."""
    with contextlib.suppress(OSError, ValueError):
        return all(
            ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
            for *_, address in socket.getaddrinfo(host, None)
        )
    return False


async def _answered(service: Service, route: str, endpoint: Endpoint, request: Request) -> Response:
    """The endpoint's answer, or what went wrong in JSON."""
    try:
        response = await endpoint(service, request)
    except RefusedError as refused:
        response = _error(refused.status, str(refused), refused.headers)
    except Exception as error:
        logger.exception("a request failed: %s", route)
        response = _error(500, f"this is a fault of the service: {type(error).__name__}: {error}")
    service.metrics.requests.labels(route, response.status_code).inc()
    return response


async def _no_route(service: Service, request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    service.metrics.requests.labels("none", status).inc()
    said = f"{request.method} {request.url.path}: {'no such route' if status == 404 else error}"
    return _error(status, said, dict(headers or {}))


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": shorten(clean(message), 1000)}, status, headers)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(value, allow_nan=False).encode()
    return Response(body, status, headers=headers, media_type="application/json")


async def _page(service: Service, request: Request) -> Response:
    html = await asyncio.to_thread(page_of, service.name, service.current(), service.options)
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return Response(html, media_type="text/html", headers={"Content-Security-Policy": policy})


async def _openapi(service: Service, request: Request) -> Response:
    return _json(document(service.name, service.current(), service.options))


async def _metrics(service: Service, request: Request) -> Response:
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _server(service: Service, request: Request) -> Response:
    return _json(server_metadata())


async def _live(service: Service, request: Request) -> Response:
    return _json({"live": True})


async def _ready(service: Service, request: Request) -> Response:
    return _json({"ready": service.ready}, 200 if service.ready else 503)


async def _models(service: Service, request: Request) -> Response:
    return _json({"models": [service.name] if service.served else []})


async def _model(service: Service, request: Request) -> Response:
    return _json(model_metadata(service.name, service.current(_checked_version(service, request))))


async def _model_ready(service: Service, request: Request) -> Response:
    service.current(_checked_version(service, request))
    return _json({"name": service.name, "ready": service.ready}, 200 if service.ready else 503)


def _checked_version(service: Service, request: Request) -> str | None:
    """The version that the address names, where the model is ours."""
    name = request.path_params["name"]
    if service.served is not None and name != service.name:
        raise RefusedError(404, f"there is no model {name!r}, only {service.name!r}")
    version: str | None = request.path_params.get("version")
    return version


async def _infer(service: Service, request: Request) -> Response:
    arrived = asyncio.get_running_loop().time()
    served = service.current(_checked_version(service, request))
    with holding(service) as held:
        body = await read_body(request, held, service.options.read_s)
        large = len(body) > _ELSEWHERE_BYTES
        asked = await _done(large, read_request, body, _header_length(request))
        inputs = dict(asked.inputs)
        cond_id = inputs.pop(COND_ID, None)
        wish = service.asked(served, asked.parameters, cond_id, [output.name for output in asked.outputs])
        work = service.work(served, wish, inputs)
        told = _wants_details(asked.parameters)
        ran = await _unless_gone(request, service.run(work, asked.parameters, arrived))
        answer = partial(write_answer, service.name, served.version, asked, ran, details(ran) if told else {})
        content, headers = await _done(_is_large(ran), answer)
    return Response(content, headers=headers)


def _header_length(request: Request) -> str | None:
    found = request.headers.getlist(HEADER_LENGTH)
    if len(found) > 1:
        raise RefusedError(400, f"{HEADER_LENGTH} stands twice in the request")
    return found[0] if found else None


async def _predict(service: Service, request: Request) -> Response:
    arrived = asyncio.get_running_loop().time()
    served = service.current()
    with holding(service) as held:
        body = await read_body(request, held, service.options.read_s)
        signature = served.manifest.signature
        inputs, parameters = await _done(len(body) > _ELSEWHERE_BYTES, read_plain, body, signature)
        wish = service.asked(served, parameters)
        work: Work = service.work(served, wish, inputs)
        told = _wants_details(parameters)
        ran = await _unless_gone(request, service.run(work, parameters, arrived))
        content = await _done(_is_large(ran), write_plain, served, wish, ran, details(ran) if told else {})
    return Response(content, media_type="application/json")


def _wants_details(parameters: Any) -> bool:
    value = parameters.get("batch_details", False)
    if not isinstance(value, bool):
        raise RefusedError(400, "batch_details is true or false")
    return value


def _is_large(ran: Ran) -> bool:
    return sum(array.nbytes for array in ran.outputs.values()) > _ELSEWHERE_BYTES


async def _done(elsewhere: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, computed here where it takes no time worth another thread."""
    return await asyncio.to_thread(function, *arguments) if elsewhere else function(*arguments)


async def _unless_gone(request: Request, answer: Awaitable[Ran]) -> Ran:
    """The answer; where the client hangs up before it comes, the request leaves the queue."""
    wait = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({wait, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not wait.done():
            raise RefusedError(_GONE, "the client did not wait")
        return await wait
    finally:
        gone.cancel()
        if not wait.done():
            wait.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
