"""The pipeline: one module from a condition id and an image to logits, for whoever trains in PyTorch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.func import functional_call

from hnexport.hypernet.generator import WeightGenerator
from hnexport.members import check_member, check_members
from hnexport.networks.wide_resnet.image_network import ImageNetwork
from hnexport.networks.wide_resnet.initialise import initialise
from hnexport.networks.wide_resnet.spec import PipelineSpec
from hnexport.networks.wide_resnet.storage import generator_spec, stored_tensors
from hnexport.training.modules import Halves

if TYPE_CHECKING:
    from hnexport.networks.wide_resnet.checkpoints import Checkpoint

__all__ = ["Pipeline"]


class Pipeline(Halves):
    """`(cond_id, image) -> logits`, in evaluation mode until `train()`; docs/howto/training.md trains one.

    The main network is an ordinary module on the meta device, kept out of the submodules: its weights come from the
    generator at each call, so the pipeline stores nothing but the generator's tensors.
    """

    def __init__(self, spec: PipelineSpec, tensors: Mapping[str, Tensor]) -> None:
        """A pipeline over `tensors`, taken as they are; see `hnexport.networks.wide_resnet.storage`.

        Raises:
            CheckpointError: the tensors are not those of the specification.
        """
        described = generator_spec(spec)
        super().__init__(WeightGenerator(described, tensors), ImageNetwork(spec), described.slots, stored_tensors(spec))
        self.spec = spec

    @classmethod
    def from_seed(cls, spec: PipelineSpec, seed: int = 0) -> Self:
        """A pipeline with random weights; see `hnexport.networks.wide_resnet.initialise`.

        Args:
            seed: a whole number; the same gives the same weights.
        """
        return cls(spec, initialise(spec, seed))

    def forward(self, cond_id: Tensor | int, image: Tensor) -> Tensor:
        """Logits of one member.

        Args:
            cond_id: the member, a whole number or an int64 scalar. In evaluation mode a scalar may be any: one that
                does not exist gives NaN logits.
            image: as `PipelineSpec.image_input` says, by default float32 `[batch, channel, height, width]`.

        Returns:
            float `[batch, class]`.

        Raises:
            RuntimeInputError: the image has another shape or dtype than `PipelineSpec.image_input`, or there is no such
                member.
        """
        if self.training:
            member = check_member(cond_id, self.spec.members)
            with self.keeping(member, self.weights(member)) as weights:
                return self.classify(weights, image)
        scalar = cond_id if isinstance(cond_id, Tensor) else self._existing(cond_id)
        return self.classify(self.generator(scalar), image)

    def classify(self, weights: Mapping[str, Tensor], image: Tensor) -> Tensor:
        """Logits `[batch, class]` of the main network with the given weights, one tensor for each slot."""
        return functional_call(self.network, dict(weights), (image,))  # type: ignore[no-any-return]

    def weights(self, cond_id: int) -> dict[str, Tensor]:
        """Every tensor of the main network of one member, by slot name (batch-norm statistics included).

        Raises:
            RuntimeInputError: there is no such member.
        """
        return self.generator(self._existing(cond_id))  # type: ignore[no-any-return]

    def ensemble(self, cond_ids: Sequence[int], image: Tensor) -> Tensor:
        """Logits `[member, batch, class]` of several members, in the order of `cond_ids`.

        Raises:
            RuntimeInputError: `cond_ids` is empty or names a member that does not exist.
        """
        chosen = check_members(cond_ids, self.spec.members, "cond_ids")
        return torch.stack([self(self._existing(cond_id), image) for cond_id in chosen])

    def tensors(self) -> dict[str, Tensor]:
        """Every stored tensor by its name, as `Pipeline(spec, tensors)` takes them: the pipeline's own, no copies."""
        return dict(self.generator.state_dict())

    def checkpoint(self, origin: str) -> "Checkpoint":
        """What `save_checkpoint` writes and `build` takes: copies on the CPU, as they are now.

        Args:
            origin: where the weights come from, in words.

        Raises:
            CheckpointError: numbers are not finite: training diverged.
        """
        from hnexport.networks.wide_resnet.checkpoints import Checkpoint  # with readers that nothing else here needs

        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self.tensors().items()}
        return Checkpoint(spec=self.spec, tensors=tensors, origin=origin)

    def _existing(self, cond_id: int) -> Tensor:
        member = check_member(cond_id, self.spec.members)
        return torch.tensor(member, device=next(self.generator.parameters()).device)
