"""What a bundle was built from, made by its factory once more: the bundle says what `build` was told beside it.

(Unlike its siblings, this module needs torch.)
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import Manifest
from hnexport.ensemble import Ensemble
from hnexport.factories.loading import called
from hnexport.factories.made import Asked, fitting, is_returned, source_of
from hnexport.rows import taken
from hnexport.spec import OutputSpec
from hnexport.spec.kinds import Kind, Logits

__all__ = ["ensemble_again"]


def ensemble_again(
    target: str, arguments: Mapping[str, str], bundle: Path, manifest: Manifest, *, weights: Path | None = None
) -> Ensemble:
    """The ensemble that a factory makes. Nothing says that it is the bundle's: the golden samples have to.

    Args:
        target: `package.module:name` or `folder/file.py:name`; its code runs in this process.
        arguments: for the factory, by name, as text.
        weights: the file of stored tensors of a module with a recipe, as `hnexport build --checkpoint` takes it.

    Raises:
        FactoryError: there is no such function, or it raised.
        SpecError: what it returned makes no ensemble.
        BundleError: the golden samples cannot be read.
    """
    value = called(target, arguments, is_returned)
    asked = fitting(value, _asked(bundle, manifest))
    made = source_of(target, value, dataclasses.replace(asked, weights=weights))
    return made if isinstance(made, Ensemble) else made.ensemble()


def _asked(bundle: Path, manifest: Manifest) -> Asked:
    """Inputs as the golden samples have them, with their axes of any size; what outputs are called and mean."""
    inputs = manifest.signature.inputs
    two = taken(manifest.signature, read_golden(bundle, manifest).inputs, slice(0, 2))
    return Asked(
        example_inputs={name: torch.from_numpy(np.array(array)) for name, array in two.items()},
        dynamic_axes={
            item.name: {axis: size for axis, size in enumerate(item.shape) if isinstance(size, str)} for item in inputs
        },
        outputs={output.name: _kind(output) for output in manifest.outputs},
        members=None if manifest.members == 1 and manifest.conditions else manifest.members,  # of a vector alone
    )


def _kind(output: OutputSpec) -> Kind:
    return "value" if output.axis is None else Logits(axis=output.axis)
