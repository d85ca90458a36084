"""How an ensemble came about: a specification for each family, and the steps of a captured hypernetwork."""

from collections.abc import Callable, Mapping
from typing import Any

from hnexport.families import HYPERNETWORK, HYPNETTORCH, MODULES, RECIPE, WIDE_RESNET
from hnexport.networks.recipes.storage import RecipeSpec
from hnexport.networks.wide_resnet.spec import PipelineSpec
from schemas.records import Records, Schema

__all__ = ["SPECIAL", "SPECIFICATIONS"]


def _wide_resnet(records: Records) -> Schema:
    return records.of(PipelineSpec)


def _recipe(records: Records) -> Schema:
    return records.of(RecipeSpec)


def _modules(records: Records) -> Schema:
    return {"description": "Empty: the tables of the manifest say everything.", "type": "object", "maxProperties": 0}


def _steps(records: Records) -> Schema:
    records.defs.setdefault("Steps", _STEPS)
    records.defs.setdefault("StepValue", _VALUE)
    return {"$ref": "#/$defs/Steps"}


SPECIFICATIONS: Mapping[str, Callable[[Records], Schema]] = {
    WIDE_RESNET: _wide_resnet,
    MODULES: _modules,
    RECIPE: _recipe,
    HYPNETTORCH: _steps,
    HYPERNETWORK: _steps,
}

_TENSOR = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": False}
_STEPS: Schema = {
    "description": "A captured hypernetwork: operators of PyTorch over stored tensors.",
    "type": "object",
    "properties": {
        "steps": {
            "description": "In the order in which they run: the operator, its arguments, its named arguments.",
            "type": "array",
            "maxItems": 100_000,
            "items": {
                "type": "array",
                "prefixItems": [
                    {"type": "string", "pattern": r"^(aten\.\w+\.\w+|getitem)$"},
                    {"type": "array", "items": {"$ref": "#/$defs/StepValue"}},
                    {"type": "object", "additionalProperties": {"$ref": "#/$defs/StepValue"}},
                ],
                "minItems": 3,
                "maxItems": 3,
            },
        },
        "outputs": {
            "description": "The generated slots by name: what a step gave, or a stored tensor as it is.",
            "type": "object",
            "additionalProperties": {
                **_TENSOR,
                "properties": {"step": {"type": "integer", "minimum": 0}, "tensor": {"type": "string"}},
            },
        },
    },
    "required": ["steps", "outputs"],
    "additionalProperties": False,
}
_VALUE: Schema = {
    "description": "An argument of a step: `tensor` is a stored tensor by name (of the member, where it has one for "
    "each), or the condition id or a condition where the name starts with `input/`; `step` is what an earlier step "
    "gave; `dtype` is PyTorch's name of one; `number` is one that JSON cannot say, such as `inf`.",
    "anyOf": [
        {"type": ["null", "boolean", "number", "string"]},
        {"type": "array", "items": {"$ref": "#/$defs/StepValue"}},
        {
            **_TENSOR,
            "properties": {
                "tensor": {"type": "string"},
                "step": {"type": "integer", "minimum": 0},
                "dtype": {"type": "string"},
                "number": {"type": "string"},
            },
        },
    ],
}


def _source(records: Records) -> Schema:
    """One of the families, each with its own specification."""
    choices: list[dict[str, Any]] = []
    for name, specification in SPECIFICATIONS.items():
        choices.append(
            {
                "title": name,
                "type": "object",
                "properties": {
                    "family": {"description": "The family's name.", "const": name},
                    "spec": {"description": "What its family needs to make it again.", **specification(records)},
                },
                "required": ["family"] if specification is _modules else ["family", "spec"],
                "additionalProperties": False,
            }
        )
    return {
        "description": "How an ensemble came about, as data: its family, and the family's own specification, enough to "
        "make the ensemble again from its stored tensors.",
        "oneOf": choices,
    }


SPECIAL: Mapping[str, Callable[[Records], Schema]] = {"EnsembleSource": _source}
