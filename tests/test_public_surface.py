"""What users may import by name."""

import importlib

import pytest

import hnexport

SURFACE = {
    "hnexport": {
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
    },
    "hnexport.build": {
        "ONNX_ALONE_BYTES",
        "PARITY_FILE",
        "BuildOptions",
        "BuildResult",
        "Buildable",
        "ParityFailedError",
        "build",
        "default_formats",
        "seal",
    },
    "hnexport.export": {"Capture", "OnnxFiles", "capture", "write_onnx", "write_pt2", "write_torchscript"},
}


@pytest.mark.parametrize("module", SURFACE)
def test_the_surface_is_what_was_promised(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == SURFACE[module]


@pytest.mark.parametrize("module", SURFACE)
def test_every_name_of_the_surface_exists(module: str) -> None:
    for name in SURFACE[module]:
        assert getattr(importlib.import_module(module), name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hnexport' has no attribute 'hypernetwork'"):
        _ = hnexport.hypernetwork
