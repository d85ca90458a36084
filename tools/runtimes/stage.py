"""What every runtime is given: a small bundle, its members as plain networks, and two folders of inputs.

The folder `golden` is what `hnexport golden` writes. `strange` is one that asks for ids that do not exist, and for an
image of which one pixel is not a number: whatever runs the one runs the other too.
"""

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hnexport
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.member import MemberFormat, MemberOptions, write_members
from hnexport.networks.wide_resnet.checkpoints import Checkpoint, random_checkpoint
from hnexport.networks.wide_resnet.slots import network_slots
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.parity import write_golden_inputs

NETWORK, MEMBERS = "wrn-10-2", 4
SPEC = PipelineSpec(network=WideResNetSpec.from_name(NETWORK), members=MEMBERS)
WEIGHTS_MB = sum(4 * math.prod(slot.shape) for slot in network_slots(SPEC.network)) / 1e6
UNKNOWN = (-1, MEMBERS, 2**31, 2**32 + 1, 2**40)
SPELLED = ("-1", "N", "2^31", "2^32+1", "2^40")
FORMATS = ("onnx", "pt", "pt2")
NAN_ROW, SANE_ROW = 0, 1


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The files.

    Attributes:
        plain: member 0 with any batch, `plain.onnx` and so on, as the bundle's files take it.
        fixed: every member with a batch of 1, `member-0.onnx` and so on.
        own: member 0's network as PyTorch exports it without hnexport: `own.onnx` for any batch, `own.pt2` and `own.pt`
            for a batch of 1.
    """

    bundle: Path
    plain: Path
    fixed: Path
    own: Path


def staged(folder: Path) -> Stage:
    """Build what is not there yet."""
    stage = Stage(bundle=folder / "bundle", plain=folder / "plain", fixed=folder / "fixed", own=folder / "own")
    complete, made_by = folder / "complete", _sources()
    if complete.exists() and complete.read_text(encoding="utf-8") == made_by:
        return stage
    shutil.rmtree(folder, ignore_errors=True)
    stage.own.mkdir(parents=True)
    checkpoint = random_checkpoint(SPEC)
    build(checkpoint, stage.bundle, options=BuildOptions(formats=tuple(Format), provider="cpu"))
    for form in FORMATS:
        write_members(stage.bundle, [0], stage.plain / f"plain.{form}", options=MemberOptions(trust=True))
        fixed = MemberOptions(format=MemberFormat(form), batch=1, trust=True)
        write_members(stage.bundle, None, stage.fixed / form, options=fixed)
    write_own(checkpoint, stage.own)
    complete.write_text(made_by, encoding="utf-8", newline="\n")
    return stage


def _sources() -> str:
    """A digest of the code that makes the files: those of other code are made again."""
    found = hashlib.sha256()
    for path in sorted([*Path(hnexport.__file__).parent.rglob("*.py"), Path(__file__)]):
        found.update(path.read_bytes())
    return found.hexdigest()


def write_own(checkpoint: Checkpoint, folder: Path) -> None:
    """Member 0 as a module of PyTorch, given to PyTorch's own exporters: nothing of an ensemble, nor of a bundle."""
    import torch

    from hnexport.networks.wide_resnet.module import build_network

    module = build_network(checkpoint.spec.network)
    found = module.load_state_dict(checkpoint.ensemble().weights(0), strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)
    image = torch.zeros((1, *checkpoint.spec.network.image.shape))
    torch.onnx.export(
        module,
        (image.repeat(2, 1, 1, 1),),
        folder / "own.onnx",
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    torch.export.save(torch.export.export(module, (image,)), folder / "own.pt2")
    torch.jit.trace(module, image).save(folder / "own.pt")


def golden_folder(stage: Stage, folder: Path) -> Path:
    """The golden samples."""
    write_golden_inputs(stage.bundle, folder)
    return folder


def strange_folder(stage: Stage, folder: Path) -> Path:
    """Two images, the first with a NaN, for member 0 and for ids that do not exist."""
    write_golden_inputs(stage.bundle, folder)
    path = folder / "golden.json"
    index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    index.update(members=[0], unknown_ids=list(UNKNOWN), sample_kinds=index["sample_kinds"][:2])
    for item in (*index["inputs"], *index["outputs"]):
        item["shape"][0] = 2
    (item,) = index["inputs"]
    images = np.load(folder / item["npy"])[:2]
    images[NAN_ROW, 0, 3, 3] = np.nan
    np.save(folder / item["npy"], images)
    images.tofile(folder / item["raw"])
    path.write_text(json.dumps(index, indent=2), encoding="utf-8", newline="\n")
    return folder
