"""hnexport: an ensemble as one exported graph `(cond_id, inputs) -> outputs`.

What to build is said with the names below; they are imported when they are first used, so that `hnexport.runtime`
works where neither torch nor onnx is installed. What to do with it are functions of their own modules:
`hnexport.build.build`, `hnexport.parity.verify`, `hnexport.runtime.load`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

_WHERE = {
    "RECIPES": "hnexport.networks.wide_resnet.spec",
    "Ensemble": "hnexport.ensemble",
    "HnexportError": "hnexport.errors",
    "HypernetSpec": "hnexport.spec",
    "ImageLayout": "hnexport.spec.images",
    "ImageSpec": "hnexport.networks.wide_resnet.spec",
    "Logits": "hnexport.spec.kinds",
    "ModuleRecipe": "hnexport.networks.recipes.recipe",
    "Normalisation": "hnexport.spec.usage",
    "Pipeline": "hnexport.networks.wide_resnet.pipeline",
    "PipelineSpec": "hnexport.networks.wide_resnet.spec",
    "PreprocessSpec": "hnexport.networks.wide_resnet.spec",
    "Recipe": "hnexport.networks.wide_resnet.spec",
    "Rule": "hnexport.networks.recipes.recipe",
    "Source": "hnexport.spec",
    "Usage": "hnexport.spec.usage",
    "WideResNetSpec": "hnexport.networks.wide_resnet.spec",
    "weight_summary": "hnexport.networks.wide_resnet.counts",
}

__all__ = [
    "RECIPES",
    "Ensemble",
    "HnexportError",
    "HypernetSpec",
    "ImageLayout",
    "ImageSpec",
    "Logits",
    "ModuleRecipe",
    "Normalisation",
    "Pipeline",
    "PipelineSpec",
    "PreprocessSpec",
    "Recipe",
    "Rule",
    "Source",
    "Usage",
    "WideResNetSpec",
    "__version__",
    "weight_summary",
]

if TYPE_CHECKING:
    from hnexport.ensemble import Ensemble
    from hnexport.errors import HnexportError
    from hnexport.networks.recipes.recipe import ModuleRecipe, Rule
    from hnexport.networks.wide_resnet.counts import weight_summary
    from hnexport.networks.wide_resnet.pipeline import Pipeline
    from hnexport.networks.wide_resnet.spec import (
        RECIPES,
        ImageSpec,
        PipelineSpec,
        PreprocessSpec,
        Recipe,
        WideResNetSpec,
    )
    from hnexport.spec import HypernetSpec, Source
    from hnexport.spec.images import ImageLayout
    from hnexport.spec.kinds import Logits
    from hnexport.spec.usage import Normalisation, Usage


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'hnexport' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_WHERE[name]), name)
    except ModuleNotFoundError:
        from hnexport.installed import require_complete

        require_complete(f"hnexport.{name}")
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
