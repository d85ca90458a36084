"""Training: both halves of an ensemble as one module, whose batch-norm statistics are those of the member it trains."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.families import MODULES, RECIPE, WIDE_RESNET
from hnexport.halves import check_named
from hnexport.members import check_member
from hnexport.spec import Slot, StoredTensor
from hnexport.training.mixture import kernels_differ

__all__ = ["EnsembleModule", "Halves", "trainable"]

_log = logging.getLogger(__name__)
_TRAINED_HERE = (WIDE_RESNET, RECIPE, MODULES)


class Halves(nn.Module):
    """A generator, and a network whose tensors come from it at each call; trained as any module is.

    Parameters are what the generator stores and training changes. They require gradients once `requires_grad_()` says
    so. `train()` and `eval()` reach the network too, dropout and batch norm with it. A call in training mode normalises
    over the batch, and what the network writes meanwhile (running statistics) is kept: for the member that was called,
    where each has its own.
    """

    def __init__(
        self, generator: nn.Module, network: nn.Module, slots: Sequence[Slot], stored: Iterable[StoredTensor]
    ) -> None:
        super().__init__()
        self.generator = generator
        self._network = (network,)  # in a tuple: not a submodule, its tensors are the generator's
        stored = tuple(stored)
        self._written = tuple(item for item in stored if item.slot is not None and not item.trained)
        self._kernels_differ = kernels_differ(slots, stored)
        self._seen_writing = False
        self.eval()

    @property
    def network(self) -> nn.Module:
        """The network as a module; its own tensors are not used."""
        return self._network[0]

    def train(self, mode: bool = True) -> Self:
        """Put both halves into training mode, or into evaluation mode.

        Raises:
            SpecError: they cannot be trained as they are: tensors are stored in float16, or a batch norm without
                momentum would count the batches of all members together.
        """
        if mode:
            self._check_trainable()
        super().train(mode)
        self.network.train(mode)
        return self

    @contextmanager
    def keeping(self, member: int, weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """A member's weights, which the network may write in the body; afterwards its buffers are stored."""
        copies = {item: weights[str(item.slot)].detach().clone() for item in self._written}
        yield {**weights, **{str(item.slot): copy for item, copy in copies.items()}}
        held = named_tensors(self.generator)
        if not self._seen_writing:
            self._seen_writing = True
            self._warn_of_shared(weights, copies)
        with torch.no_grad():
            for item, copy in copies.items():
                (held[item.name][member] if item.is_conditional else held[item.name]).copy_(copy)

    def _check_trainable(self) -> None:
        for name, tensor in self.generator.named_parameters():
            if tensor.dtype is torch.float16:
                raise SpecError(
                    f"{name} is stored in float16, in which small steps are lost: train in float32, and let "
                    "`hnexport build --bases float16` (int8, int4) round what was trained"
                )
        for path, part in self.network.named_modules():
            if getattr(part, "num_batches_tracked", None) is not None and getattr(part, "momentum", 0.0) is None:
                raise SpecError(
                    f"{path or 'the network'} ({type(part).__name__}) has momentum=None: it would average over the "
                    "batches of all members; give it a number, 0.1 is PyTorch's"
                )

    def _warn_of_shared(self, weights: Mapping[str, Tensor], copies: Mapping[StoredTensor, Tensor]) -> None:
        """Once: members whose tensors differ, and statistics that one sees after another."""
        if not self._kernels_differ:
            return
        for item, copy in copies.items():
            if not item.is_conditional and not torch.equal(copy, weights[str(item.slot)]):
                _log.warning(
                    "%s is one for all members, whose kernels differ: it becomes a mixture that fits none of them, and "
                    "predictions outside of training mode are much worse. Give each member its own "
                    "(member_statistics=True in a specification, Rule('*running_*', 'member') in a recipe)",
                    item.name,
                )
                return


class EnsembleModule(Halves):
    """An ensemble as a module that can be trained: what `Ensemble.trainable` gives."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__(ensemble.generator, ensemble.network, ensemble.slots, ensemble.stored)
        self._ensemble = (ensemble,)

    @property
    def ensemble(self) -> Ensemble:
        """The ensemble, over the same tensors."""
        return self._ensemble[0]

    def forward(self, cond_id: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name, as the ensemble itself gives them in evaluation mode.

        Args:
            cond_id: the member, a whole number or a tensor without an axis.

        Raises:
            RuntimeInputError: in training mode there is no such member; or the inputs are not those of the signature.
        """
        ensemble = self.ensemble
        if not self.training:
            return ensemble(cond_id, inputs)
        check_named(ensemble.name, [tensor.name for tensor in ensemble.signature.inputs], inputs)
        member = check_member(cond_id, ensemble.members)
        device = next(iter(named_tensors(self.generator).values())).device
        generated = ensemble.generated(torch.tensor(member, device=device), inputs)
        with self.keeping(member, generated) as given:
            weights, _ = ensemble.slots_of(given)
            return ensemble.run(weights, inputs)


def trainable(ensemble: Ensemble) -> EnsembleModule:
    """See `hnexport.ensemble.Ensemble.trainable`."""
    if ensemble.source.family not in _TRAINED_HERE:
        raise SpecError(
            f"{ensemble.name} was captured from networks of your own: train those, and make the ensemble of them again"
        )
    return EnsembleModule(ensemble).requires_grad_()
