"""A checkpoint in memory: a specification, its tensors, and where they came from."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from hnexport.errors import CheckpointError, SpecError
from hnexport.hypernet.bases import round_bases
from hnexport.hypernet.generator import check_tensors
from hnexport.networks.wide_resnet.family import describe, image_input
from hnexport.networks.wide_resnet.slots import Role, network_slots
from hnexport.networks.wide_resnet.spec import ImageLayout, PipelineSpec, PreprocessSpec
from hnexport.networks.wide_resnet.storage import stored_tensors
from hnexport.spec import BasisDtype
from hnexport.spec.assumed import Assumed
from hnexport.spec.bases import without_bases
from hnexport.spec.usage import Usage
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from hnexport.ensemble import Ensemble

__all__ = ["Checkpoint", "check_values"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that a pipeline needs: `Pipeline(checkpoint.spec, checkpoint.tensors)`.

    Construction checks every tensor: those of `hnexport.networks.wide_resnet.storage`, no others, float32 (bases:
    what `HypernetSpec.basis_dtype` says) on the CPU, finite, and no negative batch-norm variance.

    Attributes:
        tensors: the stored tensors by name; a read-only view.
        origin: where they came from, one line, for instance `hypnettorch ensemble.pt (sha256 …)`.
        usage: what whoever uses it has to know beside it, and what an import assumed; see `with_usage`.

    Raises:
        CheckpointError: a tensor is missing, unknown, or not what its specification asks for.
        SpecError: something is said that cannot be said of such a network.
    """

    spec: PipelineSpec
    tensors: Mapping[str, Tensor]
    origin: str
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "origin", " ".join(self.origin.split()))
        self.usage.check(describe(self.spec).signature, image_input(self.spec))
        table = stored_tensors(self.spec)
        check_tensors(self.spec.name, table, self.tensors)
        variances = {slot.name for slot in network_slots(self.spec.network) if slot.role is Role.NORM_VARIANCE}
        for stored in table:
            check_values(
                f"tensor {stored.name!r}",
                self.tensors[stored.name],
                lowest=0.0 if stored.slot in variances else -math.inf,
                dtype=getattr(torch, stored.dtype),
            )

    def ensemble(self) -> "Ensemble":
        """The ensemble of these weights, taken as they are."""
        from hnexport.networks.wide_resnet.halves import wide_resnet_ensemble

        made = wide_resnet_ensemble(self.spec, self.tensors, self.origin)
        return dataclasses.replace(made, usage=self.usage)

    def with_usage(self, usage: Usage) -> Self:
        """The same weights, of which more is said: it is saved with them and goes into bundle and manifest.

        What is said wins over what was said before; the rest stays.

        Raises:
            SpecError: class names are not those of the network's classes, mean and std do not fit its channels, or it
                takes pixels.
        """
        return dataclasses.replace(self, usage=self.usage.updated(usage))

    def with_input(self, *, image_layout: ImageLayout | None = None, preprocess: PreprocessSpec | None = None) -> Self:
        """The same weights behind another image input; what is None stays as it is.

        Preprocessing takes `uint8 [batch, height, width, channel]`, so with it the layout is nhwc unless one is given.

        Raises:
            SpecError: the layout and the preprocessing contradict each other; or images would lie flat whose height and
                width nobody said.
        """
        if image_layout is None:
            image_layout = self.spec.image_layout if preprocess is None else ImageLayout.NHWC
        preprocess = preprocess or self.spec.preprocess
        spec = dataclasses.replace(self.spec, image_layout=image_layout, preprocess=preprocess)
        if image_layout is ImageLayout.FLAT_HWC and Assumed.IMAGE_SIZE in self.usage.assumed:
            said = spelled("image_height=… and image_width=…", "--image CHANNELS,HEIGHT,WIDTH")
            raise SpecError(
                "nobody said the height and width of the images, and a flat one of another shape may have as many "
                f"numbers: give {said}"
            )
        usage = self.usage if preprocess is None else self.usage.normalised_within()
        return dataclasses.replace(self, spec=spec, usage=usage)

    def with_bases(self, dtype: BasisDtype) -> Self:
        """The same weights with the bases stored in `dtype`: rounded to it, or, in float32, as they are.

        Raises:
            SpecError: the recipe generates nothing, so there are no bases.
            CheckpointError: a basis does not fit; see `hnexport.hypernet.bases`.
        """
        if self.spec.hypernet is None:
            raise without_bases(self.spec.name, dtype)
        if self.spec.hypernet.basis_dtype is dtype:
            return self
        hypernet = dataclasses.replace(self.spec.hypernet, basis_dtype=dtype)
        spec = dataclasses.replace(self.spec, hypernet=hypernet)
        return dataclasses.replace(self, spec=spec, tensors=round_bases(stored_tensors(spec), self.tensors))


def check_values(where: str, tensor: Tensor, *, lowest: float = -math.inf, dtype: torch.dtype = torch.float32) -> None:
    """Check that a tensor is dense, of `dtype`, on the CPU and holds only finite numbers, none below `lowest`.

    Raises:
        CheckpointError: it is not; the message starts with `where`.
    """
    if tensor.dtype is not dtype or tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise CheckpointError(
            f"{where}: expected a dense {str(dtype).removeprefix('torch.')} tensor on the CPU, "
            f"found {tensor.dtype} ({tensor.layout}) on {tensor.device}"
        )
    if not tensor.numel():
        return
    smallest, largest = (float(value) for value in torch.aminmax(tensor.detach()))
    if not (math.isfinite(smallest) and math.isfinite(largest)):  # aminmax passes NaN on
        index = tuple((~torch.isfinite(tensor)).nonzero()[0].tolist())
        raise CheckpointError(
            f"{where}: expected finite numbers, found {float(tensor[index])} at {list(index)}; "
            "the training run diverged, or the file is damaged: take an earlier checkpoint"
        )
    if smallest < lowest:
        raise CheckpointError(f"{where}: expected numbers of at least {lowest:g}, found {smallest:g}")
