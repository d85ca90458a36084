"""The files of bundles of every kind, with inputs and what PyTorch says of them in float64."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import KINDS, small_bundle
from module_ensembles import ENSEMBLES
from shared import built_list

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.spec import Signature

SAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files and what they should say.

    Attributes:
        supplied: what the loader of `network.onnx` supplies.
        inputs: by name `[sample, …]`.
        outputs: by name `[member, sample, …]`, float64 where they are floating-point.
    """

    folder: Path
    signature: Signature
    members: int
    supplied: tuple[str, ...]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


LISTS = {
    "list of encoders": "transformer",
    "list of CNNs": "cnn",
    "list of ResNets": "resnet",
    "list of recurrent networks": "recurrent",
}
ALL_KINDS = (*KINDS, *LISTS)


@functools.cache
def written(kind: str) -> Written:
    """The files of a kind: a Wide ResNet's bundle, or that of a list of modules. Not to be changed."""
    return _of_bundle(small_bundle(kind)) if kind in KINDS else _of_list(LISTS[kind])


def _of_bundle(bundle: Path) -> Written:
    manifest, golden = read_manifest(bundle), read_golden(bundle)
    assert golden.members.tolist() == list(range(manifest.members))
    return Written(
        folder=bundle,
        signature=manifest.signature,
        members=manifest.members,
        supplied=manifest.onnx.supplied,
        inputs=golden.inputs,
        outputs=golden.outputs,
    )


def _of_list(kind: str) -> Written:
    built, made = built_list(kind), ENSEMBLES[kind]
    inputs, exact = made.inputs(SAMPLES, 7), made.ensemble().double()
    double = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    with torch.no_grad():
        outputs = [exact(member, double) for member in range(exact.members)]
    return Written(
        folder=built.path,
        signature=built.manifest.signature,
        members=exact.members,
        supplied=built.manifest.onnx.supplied,
        inputs={name: value.numpy() for name, value in inputs.items()},
        outputs={name: np.stack([one[name].numpy() for one in outputs]) for name in outputs[0]},
    )
