"""The reference: the PyTorch pipeline in float64 on the CPU, and float32 eager as the yardstick for rounding."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnexport.bundle.fingerprints import fingerprints
from hnexport.bundle.golden import Golden
from hnexport.errors import ParityError
from hnexport.networks.wide_resnet.pipeline import Pipeline
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.parity.inputs import PROBE_KINDS
from hnexport.progress import Progress, no_progress
from hnexport.rows import relative_l2

__all__ = [
    "MEMBERS_CHECKED_BY_DEFAULT",
    "checked_members",
    "compute_golden",
    "double_pipeline",
    "run_pipeline",
    "sample_members",
]

MEMBERS_CHECKED_BY_DEFAULT = 32


def sample_members(members: int, seed: int = 0) -> tuple[int, ...]:
    """All members of an ensemble of up to 32; otherwise the first, the last and a seeded sample of the others."""
    if members <= MEMBERS_CHECKED_BY_DEFAULT:
        return tuple(range(members))
    random = np.random.default_rng(seed)
    middle = random.choice(np.arange(1, members - 1), MEMBERS_CHECKED_BY_DEFAULT - 2, replace=False)
    return (0, *sorted(int(member) for member in middle), members - 1)


def checked_members(members: int, chosen: Sequence[int] | None) -> tuple[int, ...]:
    """The members to compare: those chosen, or the default sample.

    Raises:
        ParityError: one of them does not exist, or there are none.
    """
    if chosen is None:
        return sample_members(members)
    unknown = [member for member in chosen if not 0 <= member < members]
    if unknown or not chosen:
        what = f"member {unknown[0]} does not exist" if unknown else "no member was named"
        raise ParityError(f"{what}: this ensemble has members 0 to {members - 1}")
    return tuple(dict.fromkeys(chosen))


def compute_golden(
    spec: PipelineSpec,
    tensors: dict[str, Tensor],
    members: Sequence[int],
    images: NDArray[np.generic],
    *,
    progress: Progress = no_progress,
) -> Golden:
    """The reference logits of images for some members.

    Args:
        images: `[image, …]`, one of each of `PROBE_KINDS`, as `probe_images` gives them.
        tensors: the pipeline's stored tensors.
        progress: called after each member.

    Raises:
        ParityError: the reference itself is not finite, so nothing can be compared with it.
    """
    single = Pipeline(spec, tensors)
    double = double_pipeline(spec, tensors)
    logits, eager = [], []
    for member in members:
        logits.append(run_pipeline(double, member, images, torch.float64))
        eager.append(run_pipeline(single, member, images, torch.float32))
        if not np.isfinite(logits[-1]).all():
            raise ParityError(f"member {member}: PyTorch's own float64 logits are not finite; check its weights")
        progress("reference", len(logits), len(members))
    known = np.stack(logits).astype(np.float64)
    errors = relative_l2(np.stack(eager), known)
    return Golden(
        inputs={"image": images},
        kinds=PROBE_KINDS,
        members=np.array(members, dtype=np.int64),
        outputs={"logits": known},
        eager={"logits": errors},
        noise={"logits": np.zeros_like(errors)},
        fingerprints=fingerprints((name, tensor.detach().cpu().numpy()) for name, tensor in tensors.items()),
    )


def double_pipeline(spec: PipelineSpec, tensors: Mapping[str, Tensor]) -> Pipeline:
    """The pipeline in float64, over exactly the numbers that are stored: float16 bases are not rounded once more."""
    return Pipeline(spec, {name: tensor.double() for name, tensor in tensors.items()}).double()


def run_pipeline(
    pipeline: Pipeline, member: int, images: NDArray[np.generic], dtype: torch.dtype
) -> NDArray[np.generic]:
    """Logits `[image, class]` of one member; images that are not bytes are cast to `dtype`, the pipeline's own."""
    batch = torch.from_numpy(images)
    if batch.is_floating_point():
        batch = batch.to(dtype)
    with torch.inference_mode():
        return pipeline(torch.tensor(member), batch).numpy()  # type: ignore[no-any-return]
