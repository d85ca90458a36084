"""From `(hnet, mnet)` to an ensemble: both are captured for each member, and must compute the same but for tensors."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.families import HYPNETTORCH
from hnexport.hypernet.bases import plain_bases, round_bases
from hnexport.members import as_id
from hnexport.networks.hypnettorch.captured import captured_network
from hnexport.networks.hypnettorch.hypernetwork import captured_hypernetwork
from hnexport.networks.hypnettorch.live import Held, Live, MadeWeights, live_copies
from hnexport.networks.modules.inputs import Axes, Inputs
from hnexport.networks.modules.names import check_name, check_names
from hnexport.networks.modules.outputs import Outputs
from hnexport.networks.modules.tensors import is_same_closely
from hnexport.networks.steps.generated import Generated
from hnexport.programs.widened import Widened
from hnexport.reading import shown
from hnexport.spec import BasisDtype, Signature, StoredTensor
from hnexport.spec.bases import stored_basis, unquantised
from hnexport.spec.source import EnsembleSource

__all__ = ["HypnettorchEnsemble", "ensemble_from_hypnettorch"]

_UNCOND, _COND = "uncond_input", "cond_input"  # as hypnettorch's forward calls them
_NORM = re.compile(r"shared\.norm\d+\.mean")  # one set of statistics, as hypnettorch's layers are called here
_log = logging.getLogger(__name__)
_EXACT = 1e-9
"""Relative L2, in float64: the same operators in another order at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HypnettorchEnsemble(Ensemble):
    """An ensemble whose reference is hypnettorch's own forward.

    Attributes:
        live: the modules.
        bases: for each basis the tensor's name in `live.hnet`, and whether it is the other way round there.
    """

    live: Live
    bases: Mapping[str, tuple[str, bool]]

    def double(self) -> "_Reference":
        """In float64, where hypnettorch itself computes the outputs: weights and halves are those of the capture."""
        held = {item.name: getattr(self, item.name) for item in fields(Ensemble)}
        captured = Ensemble(**held).double()
        return _Reference(**vars(captured), captured=captured, live=self.live.double())

    def with_bases(self, dtype: BasisDtype) -> "HypnettorchEnsemble":
        """The same with its bases stored in `dtype`; hypnettorch itself computes with the rounded ones then.

        Raises:
            SpecError: there are none.
            CheckpointError: a basis does not fit.
        """
        if not self.bases:
            raise SpecError(
                f"{self.name} has no last linear layer that all members share: no bases to store in {dtype.value}"
            )
        stored: list[StoredTensor] = []
        for item in unquantised(self.stored):
            stored += stored_basis(item, dtype, item.shape[-1]) if item.name in self.bases else (item,)
        tensors = round_bases(stored, self.tensors)
        plain = plain_bases(stored, tensors)
        weights = {
            name: plain[basis].t() if is_turned else plain[basis] for basis, (name, is_turned) in self.bases.items()
        }
        return replace(
            self,
            stored=tuple(stored),
            generator=Generated(tuple(stored), self.members, tensors, self.source.spec).eval(),
            live=self.live.with_weights(weights),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reference(Ensemble):
    captured: Ensemble
    live: Live

    def __call__(self, cond_id: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._check_names(inputs)
        member = int(cond_id) if isinstance(cond_id, Tensor) else as_id(cond_id)
        if not 0 <= member < self.members:
            return self.captured(cond_id, inputs)
        vectors = {name: inputs[name] for name in self.signature.conditions}
        (x,) = (tensor for name, tensor in inputs.items() if name not in vectors)
        return self._named(self.live(member, x, vectors))

    def run(self, weights: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.captured.run(weights, inputs)


def ensemble_from_hypnettorch(
    hnet: nn.Module,
    mnet: nn.Module,
    *,
    example_inputs: object,
    members: int | None = None,
    condition: Callable[[int], Any] | Sequence[Any] | None = None,
    uncond_input: Tensor | None = None,
    weights: MadeWeights | None = None,
    time_first: bool | None = None,
    dynamic_axes: Axes | None = None,
    outputs: Outputs = None,
    name: str | None = None,
    origin: str | None = None,
) -> Ensemble:
    """See `hnexport.ensemble.Ensemble.from_hypnettorch`."""
    held_hnet, held_mnet, dropped = live_copies(hnet, mnet)
    vectors, example_inputs = _divided(example_inputs, uncond_input)
    takes_id = _takes_id(held_hnet, vectors)
    count = _members(hnet, members) if takes_id else _alone(members)
    if time_first is None:
        time_first = hasattr(mnet, "bptt_depth") or type(mnet).__name__ in ("SimpleRNN", "BiRNN")
    live = Live(
        hnet=held_hnet,
        mnet=held_mnet,
        conditions=_conditions(condition, count),
        uncond_input=None if uncond_input is None else uncond_input.detach().cpu().clone(),
        time_first=time_first,
        dropped=dropped,
        made=weights,
        vectors=vectors,
        takes_id=takes_id,
    )
    network = captured_network(live, example_inputs, dynamic_axes, outputs)
    generator = captured_hypernetwork(live, network.weights)
    stored = (*generator.stored, *network.stored)
    slots = network.slots
    given = Inputs(examples=vectors, dynamic={name: {} for name in vectors})
    signature = Signature(
        inputs=(*given.specs, *network.inputs.specs), outputs=network.outputs, conditions=tuple(vectors)
    )
    check_names(signature, slots, stored)
    kinds = f"{type(hnet).__name__} and {type(mnet).__name__} of hypnettorch"
    found = HypnettorchEnsemble(
        name=check_name(f"{type(mnet).__name__.lower()}-{count}" if name is None else name),
        origin=_origin(kinds, dropped) if origin is None else origin,
        members=count,
        signature=signature,
        slots=slots,
        stored=stored,
        generator=Generated(stored, count, {**generator.values, **network.values}, generator.spec).eval(),
        network=network.module,
        examples={**vectors, **network.inputs.examples},
        dynamic={**given.dynamic, **network.inputs.dynamic},
        source=EnsembleSource(family=HYPNETTORCH, spec=generator.spec),
        live=live,
        bases=generator.bases,
    )
    _check(found)
    _warn_of_statistics(found)
    return found


def _warn_of_statistics(found: Ensemble) -> None:
    """Batch norm remembers activations, which differ where kernels do."""
    norm = next((item for item in found.stored if _NORM.fullmatch(item.name)), None)
    differ = any(item.is_conditional and (item.slot is None or len(item.shape) > 3) for item in found.stored)
    if norm is not None and differ and found.members > 1:
        _log.warning(
            "%s: %d members with kernels of their own meet one set of batch-norm statistics (%s), a mixture that fits "
            "none of them: they predict much worse than in training. Train with a set for each member "
            "(checkpoint_stats called %d times), and give condition=lambda k: k",
            found.name,
            found.members,
            norm.slot,
            found.members - 1,
        )


def _divided(example_inputs: object, fixed: Tensor | None) -> tuple[dict[str, Tensor], object]:
    """The vectors that hnet gets from outside, and what mnet takes."""
    if not isinstance(example_inputs, Mapping):
        return {}, example_inputs
    vectors: dict[str, Tensor] = {}
    for name in (name for name in (_UNCOND, _COND) if name in example_inputs):
        vector = example_inputs[name]
        if not isinstance(vector, Tensor) or not vector.is_floating_point() or vector.dim() != 2 or len(vector) != 1:
            found = f"{vector.dtype} {list(vector.shape)}" if isinstance(vector, Tensor) else shown(vector)
            raise SpecError(f"example_inputs: {name} is what hnet.forward takes, float32 [1, size], found {found}")
        vectors[name] = vector.detach().cpu().clone()
    if _UNCOND in vectors and fixed is not None:
        raise SpecError(
            f"{_UNCOND} is given twice: in example_inputs it is an input of the graph, beside it a constant"
        )
    return vectors, {name: value for name, value in example_inputs.items() if name not in vectors}


def _takes_id(hnet: Held, vectors: Mapping[str, Tensor]) -> bool:
    """Whether a hypernetwork gets a condition id; some know one condition, of which they have no embedding."""
    if not vectors:
        return True
    if not getattr(hnet.root, "num_known_conds", 0) or _COND in vectors:
        return False
    try:
        with torch.no_grad():
            hnet(**vectors)
    except Exception:  # whatever it raises: it may want an id
        return True
    return False


def _alone(members: int | None) -> int:
    """Weights that come of vectors alone."""
    if members not in (None, 1):
        raise SpecError(f"members: hnet gets no condition id, so that there is one member, found {members!r}")
    return 1


def _members(hnet: nn.Module, members: int | None) -> int:
    known = int(getattr(hnet, "num_known_conds", 0))
    if known == 0:
        raise SpecError(
            f"hnet ({type(hnet).__name__}) knows no conditions (num_known_conds is 0): its weights come from a vector "
            "that is given from outside: give an example of it, example_inputs={'x': …, 'uncond_input': …} (or "
            "'cond_input'), and it is an input of the graph"
        )
    if members is None:
        return known
    if type(members) is not int or not 1 <= members <= known:
        raise SpecError(f"members: expected 1 to {known}, the conditions that hnet knows, found {members!r}")
    return members


def _conditions(condition: Callable[[int], Any] | Sequence[Any] | None, members: int) -> tuple[Any, ...]:
    if condition is None:
        return (None,) * members
    if callable(condition):
        return tuple(condition(member) for member in range(members))
    if isinstance(condition, str) or not isinstance(condition, Sequence) or len(condition) != members:
        raise SpecError(
            f"condition: expected one for each of {members} members, or a function of the member, found {condition!r}"
        )
    return tuple(condition)


def _origin(kinds: str, dropped: tuple[str, ...]) -> str:
    if not dropped:
        return kinds
    names = ", ".join(sorted(set(dropped)))
    return f"{kinds}; put into evaluation mode inside hnet, which eval() does not reach: {names}"


def _check(ensemble: HypnettorchEnsemble) -> None:
    """Compare the halves with hypnettorch's forward, in float64, for every member.

    Raises:
        SpecError: they differ.
    """
    reference = ensemble.double()
    inputs = {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in ensemble.examples.items()
    }
    for name in ensemble.signature.conditions:  # another one than that of the capture
        inputs[name] = inputs[name] + torch.linspace(-0.5, 0.5, inputs[name].numel()).double().view_as(inputs[name])
    for member in range(ensemble.members):
        with torch.no_grad(), Widened():
            expected = reference(member, inputs)
            found = reference.captured(member, inputs)
        for name, tensor in expected.items():
            if not is_same_closely(found[name], tensor, _EXACT):
                raise SpecError(
                    f"member {member}: the capture gives another {name} than hypnettorch's own forward; hnet or mnet "
                    "depend on more than their tensors and the condition"
                )
