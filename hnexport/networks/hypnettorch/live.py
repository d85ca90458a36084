"""The two live modules: copies of a user's hypernetwork and main network, and how they are called."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from hnexport.dotted import named_tensors
from hnexport.errors import SpecError
from hnexport.networks.modules.members import check_module

__all__ = ["Held", "Live", "MadeWeights", "live_copies", "parts"]

_COUNTERS = ("_num_stats", "_num_ckpts")
"""hypnettorch's buffers that count sets of statistics or weights, which its Python code compares with."""


class Held(nn.Module):
    """A network with the modules that it keeps in lists beside it, so that all of their tensors are known by name."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        known = set(root.modules())
        self.root = root
        self.beside = nn.ModuleList([part for part in parts(root) if part not in known])

    def forward(self, *args: Any, made: "MadeWeights | None" = None, **kwargs: Any) -> Any:
        """What the network's own forward returns; what it warns about is its own affair.

        Args:
            made: what it gets as `weights` instead of those that are given.
        """
        with _quietly():
            if made is not None:
                kwargs["weights"] = made(self.root, kwargs["weights"])
            return self.root.forward(*args, **kwargs)


class _Parameters(nn.ParameterList):
    """One of which `torch.export` can follow a slice."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return super().__getitem__(index)


MadeWeights = Callable[[nn.Module, list[Tensor]], Any]
"""What a main network gets as `weights`, of itself and of what the hypernetwork gives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Live:
    """A hypernetwork and a main network, and what they are called with.

    Attributes:
        conditions: for each member what the main network gets as `condition`.
        uncond_input: what the hypernetwork gets beside the condition id, the same for all members.
        vectors: an example of each vector that it gets from outside, by the name of its forward's parameter.
        takes_id: whether it gets a condition id.
        time_first: whether the main network takes and gives `[time, batch, …]`.
        dropped: modules in the hypernetwork that `eval()` did not reach, by class.
        made: what the main network gets as `weights`; None gives it what the hypernetwork gives.
    """

    hnet: Held
    mnet: Held
    conditions: tuple[Any, ...]
    uncond_input: Tensor | None
    time_first: bool
    dropped: tuple[str, ...] = ()
    made: MadeWeights | None = None
    vectors: Mapping[str, Tensor] = field(default_factory=dict)
    takes_id: bool = True

    def generate(self, member: int, vectors: Mapping[str, Tensor] | None = None) -> list[Tensor]:
        """The main network's weights, as hypnettorch generates them.

        Args:
            vectors: what comes from outside; None takes the examples.
        """
        given: dict[str, Any] = {} if self.uncond_input is None else {"uncond_input": self.uncond_input}
        given |= {"cond_id": member} if self.takes_id else {}
        return list(self.hnet(**given, **(self.vectors if vectors is None else vectors)))

    def predict(self, x: Tensor, weights: list[Tensor], condition: Any, own: Mapping[str, Tensor]) -> Any:
        """The main network's outputs, the batch first.

        Args:
            own: tensors that it has besides the weights, by name in `mnet`, where they are others.
        """
        given = _turned(x) if self.time_first else x
        arguments = {"weights": weights, "condition": condition, "made": self.made}
        outputs = functional_call(self.mnet, dict(own), (given,), arguments, tie_weights=False)
        return pytree.tree_map_only(Tensor, _turned, outputs) if self.time_first else outputs

    def __call__(self, member: int, x: Tensor, vectors: Mapping[str, Tensor]) -> Any:
        """The outputs of a member, as hypnettorch computes them."""
        return self.predict(x, self.generate(member, vectors), self.conditions[member], {})

    def double(self) -> "Live":
        """The same in float64."""
        hnet, mnet = copy.deepcopy((self.hnet, self.mnet))
        for part in (*parts(hnet), *parts(mnet)):
            _change(part, _double)
        given = self.uncond_input
        vectors = {name: vector.double() for name, vector in self.vectors.items()}
        return replace(
            self, hnet=hnet, mnet=mnet, uncond_input=None if given is None else given.double(), vectors=vectors
        )

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Live":
        """The same, with other values of tensors of `hnet`, by name."""
        hnet, mnet = copy.deepcopy((self.hnet, self.mnet))
        held = named_tensors(hnet)
        for name, value in weights.items():
            held[name].data.copy_(value)
        return replace(self, hnet=hnet, mnet=mnet)


def live_copies(hnet: object, mnet: object) -> tuple[Held, Held, tuple[str, ...]]:
    """Copies on the CPU, and which modules were put into evaluation mode that `eval()` does not reach.

    Raises:
        SpecError: they are no such networks, in training mode, have hooks, or cannot be copied.
    """
    for name, module, words, mark in (
        ("hnet", hnet, "hypernetwork", "num_known_conds"),
        ("mnet", mnet, "main network", "param_shapes"),
    ):
        check_module(name, module)
        if not hasattr(module, mark) or (name == "mnet" and hasattr(module, "num_known_conds")):
            raise SpecError(
                f"{name} is a {type(module).__name__}, no {words} of hypnettorch (it has no {mark} of one): "
                "give (hnet, mnet), in this order; a list of modules is given to Ensemble.from_modules"
            )
        if module._forward_hooks or module._forward_pre_hooks:  # type: ignore[attr-defined]
            raise SpecError(
                f"{name} has forward hooks, which {name}(…) runs and {name}.forward(…), as hypnettorch calls it, does "
                "not: write into forward what they do, or remove them"
            )
    try:
        both: tuple[Any, Any] = copy.deepcopy((hnet, mnet))
    except Exception as error:
        raise SpecError(f"hnet and mnet cannot be copied: {error}; give them as they are after training") from error
    dropped = []
    for root in both:
        known = set(root.modules())
        for part in list(parts(root)):
            if part.training and part not in known and type(part).__name__.startswith(("Dropout", "BatchNorm")):
                dropped.append(type(part).__name__)
            part.training = False
            if type(part) is nn.ParameterList:
                part.__class__ = _Parameters
            _change(part, lambda tensor: tensor.detach().cpu())
            for counter in _COUNTERS:
                if counter in part._buffers:
                    number: Any = part._buffers.pop(counter)
                    object.__setattr__(part, counter, int(number))
    held = Held(both[0]).eval(), Held(both[1]).eval()
    return (*held, tuple(dropped))


def parts(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all modules in it, also those that its attributes hold in lists, tuples and dictionaries."""
    seen, pending = set(), [module]
    while pending:
        part = pending.pop()
        if part in seen:
            continue
        seen.add(part)
        yield part
        pending.extend(reversed(list(_modules_in(list(vars(part).values())))))


def _modules_in(value: Any) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _modules_in(item)
    elif isinstance(value, dict):
        yield from _modules_in(list(value.values()))


def _change(part: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Change a module's own tensors, parameters in their place, so that tied ones stay tied."""
    for parameter in part._parameters.values():
        if parameter is not None:
            parameter.data = change(parameter.data)
    for held in (part._buffers, vars(part)):
        for name, value in list(held.items()):
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                held[name] = change(value)


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _turned(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, 1)


@contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
