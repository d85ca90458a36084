"""What the service says of itself: an OpenAPI document, and a page that loads nothing from elsewhere."""

import json
from typing import Any

from hnexport import __version__
from hnexport.errors import RuntimeInputError
from hnexport.families import image_input
from hnexport.images.normalising import applied_to
from hnexport.installed import require_extra
from hnexport.names import COND_ID
from hnexport.serve.asked import PARAMETERS
from hnexport.serve.outputs import summary_specs
from hnexport.serve.served import Served
from hnexport.serve.settings import ServeOptions
from hnexport.serve.tensors import NAMES
from hnexport.spec import TensorSpec

__all__ = ["document", "page_of"]

_ERRORS = {
    "400": "the request is not what it should be; the sentence says what was expected",
    "404": "no such model, version or route",
    "405": "the route is asked by another method",
    "408": "the body did not arrive in time",
    "413": "the body is too large",
    "415": "the body is compressed",
    "421": "only localhost is served: the request names another host",
    "422": "the network cannot compute these inputs",
    "503": "not ready, or too much waits: try again after Retry-After seconds, or elsewhere",
}

_MOST_NAMES = 100


def document(name: str, served: Served, options: ServeOptions) -> dict[str, Any]:
    """The OpenAPI 3.1 document of this service and bundle."""
    model = f"/v2/models/{name}"
    infer = _operation("Compute", _v2_request(served), "the protocol's answer", _v2_example(served))
    paths: dict[str, Any] = {
        f"{model}/infer": {"post": infer},
        "/predict": {
            "post": _operation(
                "Compute, in plain JSON", _plain_request(served), "outputs as nested lists", _plain_example(served)
            )
        },
    }
    for path, text in _GETS.items():
        said = {"200": {"description": text}}
        if path.endswith("ready"):
            said["503"] = {"description": "not ready: members are being made, or the service stops"}
        paths[path.replace("{model}", name)] = {"get": {"summary": text, "responses": said}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name}, served by hnexport",
            "version": served.version,
            "description": f"Bundle {served.digest}, {served.manifest.members} members. hnexport {__version__}. "
            f"At most {options.batch} samples and {options.body_bytes} bytes a request. {_pictures(served)}".rstrip(),
        },
        "paths": paths,
    }


_GETS = {
    "/v2": "Name, version and extensions of the server",
    "/v2/health/live": "Whether the process answers",
    "/v2/health/ready": "Whether every member is made and requests are taken",
    "/v2/models": "The model that is served",
    "/v2/models/{model}": "Its inputs, outputs and versions",
    "/v2/models/{model}/ready": "Whether it is ready",
    "/metrics": "Counters for Prometheus",
    "/openapi.json": "This document",
}


def _operation(summary: str, schema: dict[str, Any], answer: str, example: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
    responses: dict[str, Any] = {"200": {"description": answer}}
    responses |= {status: {"description": text, "content": error} for status, text in _ERRORS.items()}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"summary": summary, "requestBody": {"required": True, "content": content}, "responses": responses}


def _parameter_schemas() -> dict[str, Any]:
    return {name: {"description": text} for name, text in PARAMETERS.items()}


def _v2_request(served: Served) -> dict[str, Any]:
    names = [COND_ID, *(item.name for item in served.manifest.signature.inputs)]
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"enum": names},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": sorted(NAMES.values())},
            "data": {"type": "array"},
            "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": tensor},
            "outputs": {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"enum": _outputs(served)}}},
            },
            "parameters": {"type": "object", "properties": _parameter_schemas()},
        },
    }


def _plain_request(served: Served) -> dict[str, Any]:
    inputs = {item.name: {"type": "array", "description": _said(item)} for item in served.manifest.signature.inputs}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": {"type": "object", "properties": inputs}, **_parameter_schemas()},
    }


def _outputs(served: Served) -> list[str]:
    signature = served.manifest.signature
    return [item.name for item in (*signature.outputs, *summary_specs(signature))]


def _v2_example(served: Served) -> dict[str, Any]:
    inputs = [
        {"name": item.name, "shape": [size if isinstance(size, int) else 1 for size in item.shape],
         "datatype": NAMES.get(item.dtype, item.dtype), "data": ["…"]}
        for item in served.manifest.signature.inputs
    ]  # fmt: skip
    return {"inputs": [{"name": COND_ID, "shape": [1], "datatype": "INT64", "data": [0]}, *inputs]}


def _plain_example(served: Served) -> dict[str, Any]:
    return {"inputs": {item.name: ["…"] for item in served.manifest.signature.inputs}, "mean": True}


def _said(spec: TensorSpec) -> str:
    return f"{spec.dtype} [{', '.join(map(str, spec.shape))}]"


def _pictures(served: Served) -> str:
    """What pictures are to the network; "" where it takes none."""
    image = image_input(served.manifest)
    if image is None:
        return ""
    try:
        how = applied_to(image, None, image.tensor.name).told()
    except RuntimeInputError:
        how = "pictures: normalised as those of the training, and the bundle does not say how"
    return f"{image.tensor.name} takes {how}."


def _classes(served: Served) -> list[str]:
    """The names of the classes of each output that has some."""
    return [
        f"Classes of {output}, in their order: {', '.join(names[:_MOST_NAMES])}{', …' * (len(names) > _MOST_NAMES)}"
        for output, names in served.manifest.usage.class_names.items()
    ]


def page_of(name: str, served: Served, options: ServeOptions) -> str:
    """The same for people: one HTML page, no scripts.

    Raises:
        IncompleteError: jinja2 is not installed.
    """
    require_extra("the page", "jinja2", "serve")
    from hnexport.pages import page

    signature = served.manifest.signature
    return page(
        "hnexport.serve",
        "api.html",
        name=name,
        served=served,
        options=options,
        precisions=", ".join(served.ensembles),
        ensemble=served.first,
        inputs=[(item.name, NAMES.get(item.dtype, item.dtype), _shape(item)) for item in signature.inputs],
        outputs=[(item.name, NAMES.get(item.dtype, item.dtype), _shape(item)) for item in signature.outputs],
        notes=list(filter(None, (_pictures(served), *_classes(served)))),
        said=[(item.name, NAMES.get(item.dtype, item.dtype), _shape(item)) for item in summary_specs(signature)],
        parameters=PARAMETERS,
        gets={path.replace("{model}", name): text for path, text in _GETS.items()},
        errors=_ERRORS,
        v2=_in_lines(_v2_example(served)),
        plain=json.dumps(_plain_example(served), ensure_ascii=False),
        cond_id=COND_ID,
        version=__version__,
    )


def _in_lines(request: dict[str, Any]) -> list[str]:
    """A request with a line for each tensor: the page makes whatever else is in a text visible."""
    tensors = [json.dumps(item, ensure_ascii=False) for item in request["inputs"]]
    return ['{"inputs": [', *(f"  {tensor}," for tensor in tensors[:-1]), f"  {tensors[-1]}]}}"]


def _shape(spec: TensorSpec) -> str:
    return f"[{', '.join(map(str, spec.shape))}]"
