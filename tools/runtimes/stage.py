"""What every runtime is given: a small bundle, its members as plain networks, and two folders of inputs.

The folder `golden` is what `hnexport golden` writes. `strange` is one that asks for ids that do not exist, and for an
image of which one pixel is not a number: whatever runs the one runs the other too.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hnexport
from hnexport.build import BuildOptions, build
from hnexport.bundle.manifest import Format
from hnexport.member import MemberFormat, MemberOptions, write_members
from hnexport.networks.wide_resnet.checkpoints import random_checkpoint
from hnexport.networks.wide_resnet.spec import PipelineSpec, WideResNetSpec
from hnexport.parity import write_golden_inputs

NETWORK, MEMBERS = "wrn-10-2", 4
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
    """

    bundle: Path
    plain: Path
    fixed: Path


def staged(folder: Path) -> Stage:
    """Build what is not there yet."""
    stage = Stage(bundle=folder / "bundle", plain=folder / "plain", fixed=folder / "fixed")
    complete, made_by = folder / "complete", _sources()
    if complete.exists() and complete.read_text(encoding="utf-8") == made_by:
        return stage
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = PipelineSpec(network=WideResNetSpec.from_name(NETWORK), members=MEMBERS)
    build(random_checkpoint(spec), stage.bundle, options=BuildOptions(formats=tuple(Format), provider="cpu"))
    for form in FORMATS:
        write_members(stage.bundle, [0], stage.plain / f"plain.{form}", options=MemberOptions(trust=True))
        fixed = MemberOptions(format=MemberFormat(form), batch=1, trust=True)
        write_members(stage.bundle, None, stage.fixed / form, options=fixed)
    complete.write_text(made_by, encoding="utf-8")
    return stage


def _sources() -> str:
    """A digest of the code that makes the files: those of other code are made again."""
    found = hashlib.sha256()
    for path in sorted(Path(hnexport.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


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
    path.write_text(json.dumps(index, indent=2), encoding="utf-8")
    return folder
