"""What rounding the bases changed: logits of the rounded pipeline against those of the one it was made from.

That is no error of an artifact: the model that a bundle ships is that of the rounded bases, and artifacts are held to
it as strictly as to any other. Both sides are PyTorch in float64, so that nothing but the rounding differs.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hnexport.bundle.golden import Golden
from hnexport.bundle.manifest import BasisRounding
from hnexport.hypernet.bases import basis_rounding
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.reference import double_pipeline, run_pipeline
from hnexport.progress import Progress, no_progress
from hnexport.rows import relative_l2

__all__ = ["MEMBERS_MEASURED", "measure_rounding"]

MEMBERS_MEASURED = 3


def measure_rounding(
    spec: PipelineSpec,
    exact: Mapping[str, Tensor],
    golden: Golden,
    tensors: Mapping[str, Tensor],
    *,
    progress: Progress = no_progress,
) -> BasisRounding:
    """Compare the first members of the golden samples, with every kind of image.

    Args:
        spec: of the bundle, whose bases are rounded.
        exact: the stored tensors before they were rounded.
        golden: the reference logits of the bundle.
        tensors: the stored tensors that they come from.
    """
    pipeline = double_pipeline(spec, exact)
    members = [int(member) for member in golden.members[:MEMBERS_MEASURED]]
    errors = []
    for row, member in enumerate(members):
        logits = run_pipeline(pipeline, member, golden.images, torch.float64)
        errors.append(float(relative_l2(golden.logits[row], logits.astype(np.float64)).max()))
        progress("rounding", row + 1, len(members))
    return BasisRounding(bases=basis_rounding(spec, exact, tensors), logits=max(errors), members=tuple(members))
