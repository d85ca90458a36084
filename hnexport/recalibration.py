"""Batch-norm statistics of each member, estimated anew: what training with one set for all members leaves undone.

Weights stay as they are. Each member sees the inputs with its batch norms in training mode, batch by batch, and each of
those remembers the mean over the batches of mean and (unbiased) variance, as `torch.optim.swa_utils.update_bn` has it.
All else stays in evaluation mode: dropout is off, because it is off where the statistics are used.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hnexport.dotted import named_tensors
from hnexport.ensemble import Ensemble
from hnexport.errors import RuntimeInputError, SpecError
from hnexport.families import family
from hnexport.halves import check_named
from hnexport.progress import Progress, no_progress
from hnexport.spec import BATCH, TensorSpec

__all__ = ["BATCH_SIZE", "Change", "Inputs", "Recalibration", "recalibrate"]

_log = logging.getLogger(__name__)

BATCH_SIZE = 100
"""Samples of one forward pass, where they do not come in batches."""
_FAR = 20.0
"""Old standard deviations, or times them: what other weights move statistics by is less, other units are more."""
_STAGE = "statistics"
_MEAN, _VARIANCE, _COUNTER = "running_mean", "running_var", "num_batches_tracked"

Inputs = Mapping[str, Tensor] | Iterable[Mapping[str, Tensor]]
"""All samples by the names of the inputs, or batches of them, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How far a member's statistics moved, at the batch norm where they moved most.

    Attributes:
        member: which one.
        norm: its name in the network, `group2.block1.norm1`.
        mean: by how many of the old standard deviations the mean moved, root mean square over the channels.
        std: by which factor the standard deviation changed, the geometric mean over the channels.
    """

    member: int
    norm: str
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Recalibration:
    """An ensemble with statistics of each member, and what they were made of.

    Attributes:
        had_own: whether each member had a set of its own before.
    """

    ensemble: Ensemble
    samples: int
    batches: int
    norms: int
    had_own: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Norm:
    path: str
    module: Any

    @property
    def slots(self) -> tuple[str, str]:
        return self.named(_MEAN), self.named(_VARIANCE)

    def named(self, leaf: str) -> str:
        return f"{self.path}.{leaf}" if self.path else leaf


def recalibrate(
    ensemble: Ensemble,
    inputs: Inputs,
    *,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Recalibration:
    """Estimate the batch-norm statistics of every member of an ensemble, which stays as it is.

    Args:
        inputs: training data as the network takes it, by name; or an iterable of batches, a list or a loader. What has
            no axis `batch` goes with every batch as it is.
        batch_size: about how many samples are normalised together, as in training; batches are of equal size. Not used
            where batches are given.
        seed: of the order in which samples come into batches: data is often sorted by class.

    Raises:
        SpecError: the network has no batch norm, or one that works between processes alone; or its tensors were
            captured from networks of your own. It says what to do.
        RuntimeInputError: the inputs are not those of the signature, are too few, or give statistics that are not
            finite.
    """
    norms = _norms(ensemble)
    held, copies = {item.slot: item for item in ensemble.stored}, _copies(ensemble)
    statistics = {slot for norm in norms for slot in norm.slots}
    shared = [
        slot
        for slot in ensemble.slots
        if slot.name in statistics and ensemble.members > 1 and not held[slot.name].is_conditional
    ]
    made = family(ensemble.source.family).with_own(ensemble, shared, copies)  # refuses what it cannot do
    if not norms:
        raise SpecError(
            f"{ensemble.name} has no batch norm: there are no statistics to estimate (only those of "
            "torch.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d are)"
        )
    given = _batches(ensemble, inputs, batch_size, seed)
    estimated, samples, batches = _estimated(ensemble, norms, given, progress)
    after = made.tensors
    for item in made.stored:
        if item.slot in estimated:
            found = estimated[item.slot].to(after[item.name])
            after[item.name].copy_(found if item.is_conditional else found[0])
    changes = tuple(_change(norms, member, ensemble.weights(member), estimated) for member in range(made.members))
    _warn_of_other_units(changes)
    return Recalibration(
        ensemble=made,
        samples=samples,
        batches=batches,
        norms=len(norms),
        had_own=not shared,
        changes=changes,
    )


def _norms(ensemble: Ensemble) -> tuple[_Norm, ...]:
    """Those whose statistics the ensemble's graph uses."""
    aliases = {slot.name: slot.alias_of for slot in ensemble.slots}
    found = [_Norm(path=path, module=part) for path, part in ensemble.network.named_modules() if _is_norm(part)]
    found = [norm for norm in found if all(slot in aliases for slot in norm.slots)]
    for norm in found:
        where = f"{norm.path or 'the network'} ({type(norm.module).__name__})"
        if isinstance(norm.module, nn.SyncBatchNorm):
            raise SpecError(f"{where} normalises over several GPUs in training: put a BatchNorm of one in its place")
        if any(aliases[slot] for slot in norm.slots):
            raise SpecError(f"{where} has the statistics of another batch norm: give it some of its own")
    return tuple(found)


def _is_norm(part: nn.Module) -> bool:
    return isinstance(part, _BatchNorm)


def _copies(ensemble: Ensemble) -> dict[str, Tensor]:
    return {name: tensor.clone().contiguous() for name, tensor in ensemble.tensors.items()}


def _batches(ensemble: Ensemble, inputs: Inputs, size: int, seed: int) -> Iterable[Mapping[str, Tensor]]:
    """The samples in batches of one size, in an order of chance; one batch where its size is fixed."""
    if not isinstance(inputs, Mapping):
        return inputs
    count = _count(ensemble, inputs)
    word = _called(ensemble.signature.inputs[0], "samples")
    if size < 2:
        raise SpecError(f"batch_size: statistics need batches of at least 2 {word}, found {size}")
    if count < 2:
        raise RuntimeInputError(f"statistics need at least 2 {word}, and some hundred to be good ones; found {count}")
    split = [tensor.name for tensor in ensemble.signature.inputs if tensor.has_batch]
    if not split:
        return [inputs]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return [
        {name: value[chosen.to(value.device)] if name in split else value for name, value in inputs.items()}
        for chosen in order.tensor_split(max(1, min(round(count / size), count // 2)))
    ]


def _count(ensemble: Ensemble, inputs: Mapping[str, Tensor]) -> int:
    """How many samples there are, after names, dtypes and sizes were found to be right."""
    tensors = ensemble.signature.inputs
    check_named(ensemble.name, [tensor.name for tensor in tensors], inputs)
    sizes: dict[str, tuple[str, int]] = {}
    for tensor in tensors:
        _check(tensor, inputs[tensor.name])
        for axis, size in zip(tensor.shape, inputs[tensor.name].shape, strict=True):
            first, expected = sizes.setdefault(axis, (tensor.name, size)) if isinstance(axis, str) else ("", size)
            if size != expected:
                raise RuntimeInputError(f"{first} has {expected} along the axis {axis}, {tensor.name} has {size}")
    return sizes[BATCH][1] if BATCH in sizes else len(inputs[tensors[0].name])


def _called(tensor: TensorSpec, otherwise: str) -> str:
    return "images" if tensor.name == "image" else otherwise


def _check(tensor: TensorSpec, given: Tensor) -> None:
    dtype, shape = str(given.dtype).removeprefix("torch."), tuple(given.shape)
    wanted, called = tensor.shape, _called(tensor, tensor.name)
    fits = len(shape) == len(wanted) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(wanted, shape, strict=True)
    )
    if not fits or dtype != tensor.dtype:
        raise RuntimeInputError(
            f"expected {called} of shape {list(wanted)}, {tensor.dtype}, found {list(shape)}, {dtype}"
        )


def _estimated(
    ensemble: Ensemble, norms: Sequence[_Norm], batches: Iterable[Mapping[str, Tensor]], progress: Progress
) -> tuple[dict[str, Tensor], int, int]:
    """The statistics of every member by slot, `[member, …]`; and how many samples and batches there were."""
    device = next(iter(named_tensors(ensemble.generator).values())).device
    members = ensemble.members
    states = [_fresh(norms, ensemble.weights(member)) for member in range(members)]
    total = len(batches) * members if isinstance(batches, Sized) else 0
    samples = number = 0
    with torch.no_grad(), _collecting(ensemble.network, norms):
        for number, batch in enumerate(batches, start=1):
            count = _count(ensemble, batch)
            samples += count
            for member, state in enumerate(states):
                weights, _ = ensemble.slots_of(ensemble.generated(torch.tensor(member, device=device), batch))
                try:
                    ensemble.run({**weights, **state}, batch)
                except ValueError as error:  # PyTorch's, where there is one value of a channel
                    raise RuntimeInputError(f"batch {number} has {count} samples: {error}") from error
                done = (number - 1) * members + member + 1
                progress(_STAGE, done, max(total, done))
    if not number:
        raise RuntimeInputError("there are no batches: statistics need some, of training data")
    found = {slot: torch.stack([state[slot] for state in states]) for norm in norms for slot in norm.slots}
    for slot, tensor in found.items():
        if not tensor.isfinite().all():
            raise RuntimeInputError(
                f"{slot} of member {int((~tensor.isfinite()).nonzero()[0, 0])} would be NaN or infinite: are the "
                "inputs finite, and as in training?"
            )
    return found, samples, number


def _fresh(norms: Sequence[_Norm], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What batch norms begin with, and count with; theirs to write."""
    state: dict[str, Tensor] = {}
    for norm in norms:
        mean, variance = norm.slots
        state |= {mean: torch.zeros_like(weights[mean]), variance: torch.ones_like(weights[variance])}
        state[norm.named(_COUNTER)] = torch.zeros((), dtype=torch.int64)
    return state


@contextmanager
def _collecting(network: nn.Module, norms: Sequence[_Norm]) -> Iterator[None]:
    """Batch norms in training mode, keeping the mean over batches, all else in evaluation mode; then as before."""
    modes = {part: part.training for part in network.modules()}
    before = [(norm.module, norm.module.momentum, norm.module.num_batches_tracked) for norm in norms]
    try:
        network.eval()
        for module, _, _ in before:
            module.training, module.momentum, module.num_batches_tracked = (
                True,
                None,
                torch.zeros((), dtype=torch.int64),
            )
        yield
    finally:
        for module, momentum, counter in before:
            module.momentum, module.num_batches_tracked = momentum, counter
        for part, mode in modes.items():
            part.training = mode


def _change(norms: Sequence[_Norm], member: int, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Change:
    """Of a member, at the batch norm whose mean moved most."""
    changes = []
    for norm in norms:
        mean, variance = norm.slots
        old = before[variance].detach().double() + norm.module.eps
        moved = (after[mean][member].double() - before[mean].detach().double()).square() / old
        factor = ((after[variance][member].double() + norm.module.eps) / old).log().mean().div(2).exp()
        changes.append(Change(member=member, norm=norm.path, mean=float(moved.mean().sqrt()), std=float(factor)))
    return max(changes, key=lambda change: change.mean)


def _warn_of_other_units(changes: Sequence[Change]) -> None:
    """Once: statistics so far from the old ones that the inputs are hardly those of the training."""
    far = next((one for one in changes if one.mean > _FAR or not 1 / _FAR < one.std < _FAR), None)
    if far is not None:
        _log.warning(
            "the statistics of %s moved far, by %.3g old standard deviations, which became %.3g times as large: are "
            "the inputs those of the training, in its units (pixels from 0 to 255, where it took 0 to 1, are not)?",
            far.norm,
            far.mean,
            far.std,
        )
