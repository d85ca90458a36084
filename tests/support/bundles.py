"""Small verified bundles whose every tensor matters, and the means to tamper with copies of them."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from shared import build_once
from torch import Tensor

from hnexport.bundle.checksums import record_file
from hnexport.bundle.golden import write_golden
from hnexport.bundle.manifest import Manifest, read_manifest, write_manifest
from hnexport.export import Capture, write_pt2, write_torchscript
from hnexport.export.weights_file import rearranged, write_weights
from hnexport.names import MANIFEST_FILE, PARITY_FILE
from hnexport.networks.wide_resnet.checkpoints import Checkpoint
from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.slots import Role, network_slots
from hnexport.networks.wide_resnet.spec import (
    RECIPES,
    ImageLayout,
    ImageSpec,
    PipelineSpec,
    PreprocessSpec,
    WideResNetSpec,
)
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.parity import compute_golden, probe_inputs
from hnexport.records import from_json
from hnexport.spec import HypernetSpec
from hnexport.spec.usage import Usage


def spec_of(manifest: Manifest) -> PipelineSpec:
    """The specification of a Wide ResNet's manifest."""
    return from_json(PipelineSpec, manifest.source.spec)


KINDS = ("hypernet", "batch-ensemble", "pixels")


def small_spec(kind: str, network: str = "wrn-10-1") -> PipelineSpec:
    """A network of 8x8 images with three members; `pixels` takes uint8 and normalises in the graph."""
    recipe = RECIPES["batch-ensemble" if kind == "batch-ensemble" else "hypernet"]
    return PipelineSpec(
        network=WideResNetSpec.from_name(network, image=ImageSpec(height=8, width=8)),
        members=3,
        recipe=recipe,
        hypernet=None if kind == "batch-ensemble" else HypernetSpec(),
        image_layout=ImageLayout.NHWC if kind == "pixels" else ImageLayout.NCHW,
        preprocess=PreprocessSpec(mean=(0.5, 0.45, 0.4), std=(0.2, 0.25, 0.3)) if kind == "pixels" else None,
    )


def trained_tensors(spec: PipelineSpec, seed: int = 0) -> dict[str, Tensor]:
    """Tensors as after training: batch-norm scales, shifts and statistics and the output bias differ everywhere."""
    random = torch.Generator().manual_seed(1000 + seed)
    tensors = initialise(spec, seed)
    roles = {slot.name: slot.role for slot in network_slots(spec.network)}
    for stored in stored_tensors(spec):
        tensor = tensors[stored.name]
        noise = torch.randn(tensor.shape, generator=random)
        match roles.get(stored.slot or ""):
            case Role.NORM_SCALE:
                tensors[stored.name] = tensor * (0.3 * noise).exp()
            case Role.NORM_VARIANCE:
                tensors[stored.name] = tensor * (0.4 * noise).exp()
            case Role.NORM_SHIFT | Role.NORM_MEAN | Role.OUTPUT_BIAS:
                tensors[stored.name] = tensor + 0.3 * noise
    return tensors


def small_bundle(kind: str, seed: int = 0) -> Path:
    """A bundle of a kind, built once a run; not to be changed."""
    spec = small_spec(kind)
    checkpoint = Checkpoint(spec=spec, tensors=trained_tensors(spec, seed), origin=f"test weights, seed {seed}")
    return build_once(checkpoint).path


def saying(bundle: Path, copy: Path, **usage: Any) -> Path:
    """A copy of a bundle that says how it is used, see `hnexport.Usage`."""
    shutil.copytree(bundle, copy)
    write_manifest(copy, dataclasses.replace(read_manifest(copy), usage=Usage(**usage)))
    return copy


def reseed(bundle: Path, captured: Capture, seed: int) -> None:
    """Write other weights into every file of a bundle, as a build with them would."""
    spec = from_json(PipelineSpec, captured.ensemble.source.spec)
    tensors = trained_tensors(spec, seed)
    for name, tensor in captured.tensors.items():
        tensor.copy_(tensors[name])
    write_weights(bundle, rearranged(captured.ensemble))
    _write_inlined(bundle / "ensemble.onnx", tensors)
    write_torchscript(captured, bundle / "model.pt")
    write_pt2(captured, bundle / "model.pt2")
    ensemble = wide_resnet_ensemble(spec, tensors, "reseeded")
    probes = probe_inputs(ensemble.signature, {name: one.numpy() for name, one in ensemble.examples.items()}, seed)
    write_golden(bundle, compute_golden(ensemble, range(ensemble.members), probes.inputs, probes.kinds))
    without_claims(bundle)


def _write_inlined(path: Path, tensors: dict[str, Tensor]) -> None:
    """The small shared tensors that `ensemble.onnx` holds itself."""
    model = onnx.load(path, load_external_data=False)
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    (body,) = [item.g for item in scan.attribute if item.name == "body"]
    for held in body.initializer:
        if held.name in tensors:
            held.CopyFrom(onnx.numpy_helper.from_array(tensors[held.name].numpy(), held.name))
    path.write_bytes(model.SerializeToString())


def with_usage(bundle: Path, usage: Usage, target: Path) -> Path:
    """A copy of a bundle whose manifest says more, or nothing, as those of before it could."""
    shutil.copytree(bundle, target)
    write_manifest(target, dataclasses.replace(read_manifest(bundle), usage=usage))
    return target


def rewrite_checksums(bundle: Path) -> None:
    """Make the manifest agree with the files, as someone who builds a wrong bundle with care would."""
    manifest = read_manifest(bundle)
    files = {name: record_file(bundle / name) for name in manifest.files}
    write_manifest(bundle, dataclasses.replace(manifest, files=files))


def without_claims(bundle: Path) -> None:
    """Let a bundle say nothing about its parity, as one that nobody verified yet."""
    (bundle / PARITY_FILE).unlink(missing_ok=True)
    manifest = read_manifest(bundle)
    files = {name: record_file(bundle / name) for name in manifest.files if name != PARITY_FILE}
    write_manifest(bundle, dataclasses.replace(manifest, files=files, parity={}))


def edit_manifest(bundle: Path, edit: Callable[[dict], None]) -> None:
    value = json.loads((bundle / MANIFEST_FILE).read_text())
    edit(value)
    (bundle / MANIFEST_FILE).write_text(json.dumps(value))
