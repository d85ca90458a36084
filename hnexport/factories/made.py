"""What a factory returned becomes an ensemble: one table of what it can be, and what the command line adds to each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hnexport.ensemble import Ensemble
from hnexport.errors import SpecError
from hnexport.factories.loading import users_code
from hnexport.families import Checkpoint
from hnexport.networks.recipes.recipe import ModuleRecipe
from hnexport.spec.kinds import Kind
from hnexport.text import number_of

__all__ = ["RETURNED", "Asked", "Returned", "fitting", "is_returned", "source_of"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says beside the factory; None is not said.

    Attributes:
        weights: a file of stored tensors.
    """

    example_inputs: Mapping[str, Tensor] | None = None
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None
    outputs: Mapping[str, Kind] | Sequence[str] | None = None
    members: int | None = None
    weights: Path | None = None
    seed: int | None = None

    def given(self, *names: str) -> dict[str, Any]:
        """Those of these that are said."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True)
class Returned:
    """One kind of what a factory may return.

    Attributes:
        what: as one would say it.
        takes: what of `Asked` goes with it.
        needs: what of that must be said.
        says: what of that the value says itself.
    """

    what: str
    fits: Callable[[Any], bool]
    make: Callable[[Any, Asked], Any]
    takes: frozenset[str] = field(default_factory=frozenset)
    needs: frozenset[str] = field(default_factory=frozenset)
    says: Callable[[Any], Iterable[str]] = lambda value: ()


_SHOWN = ("example_inputs", "dynamic_axes", "outputs")
_FLAGS = {
    "example_inputs": "--input",
    "dynamic_axes": "--input",
    "outputs": "--output",
    "members": "--members",
    "weights": "--checkpoint",
    "seed": "--seed",
}


_OF_PAIRS = ("members", "condition", "uncond_input", "weights", "time_first", *_SHOWN, "name", "origin")


def _is_pair(value: object) -> bool:
    """`(hnet, mnet)` of hypnettorch, which need not be installed here, perhaps with a dictionary."""
    return (
        isinstance(value, tuple | list)
        and len(value) in (2, 3)
        and all(isinstance(part, nn.Module) for part in value[:2])
        and all(isinstance(part, Mapping) for part in value[2:])
        and any(kind.__name__ == "HyperNetInterface" for kind in type(value[0]).__mro__)
    )


def _from_pair(value: Any, asked: Asked) -> Ensemble:
    hnet, mnet, *said = value
    options, given = dict(said[0]) if said else {}, asked.given(*_SHOWN, "members")
    unknown = next((name for name in options if name not in _OF_PAIRS), None)
    if unknown is not None:
        raise SpecError(f"the factory says {unknown!r} of hnet and mnet, expected {', '.join(_OF_PAIRS)}")
    if asked.dynamic_axes is None and "example_inputs" in options:
        given.pop("example_inputs", None)  # they came from --samples, which then serve the verification alone
    twice = next((name for name in given if name in options), None)
    if twice is not None:
        raise SpecError(f"the factory says {twice}: leave out {_FLAGS[twice]}")
    return Ensemble.from_hypnettorch(hnet, mnet, **options, **given)


def _is_hypernetwork(value: object) -> bool:
    """A hypernetwork, its network and the members, if it has any; modules of one class are a list of members."""
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        return False
    modules, counted = value[:2], value[2:]
    return (
        all(isinstance(part, nn.Module) for part in modules)
        and (bool(counted) or type(modules[0]) is not type(modules[1]))
        and all(type(count) is int for count in counted)
    )


def _from_hypernetwork(value: Any, asked: Asked) -> Ensemble:
    hypernet, network, *counted = value
    members = _members(counted, asked, "") if counted or asked.members is not None else None
    return Ensemble.from_hypernetwork(hypernet, network, members=members, **asked.given(*_SHOWN))


def _has_recipe(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) in (2, 3)
        and isinstance(value[0], nn.Module)
        and isinstance(value[1], ModuleRecipe | str | PathLike)
    )


def _from_recipe(value: Any, asked: Asked) -> Ensemble:
    module, recipe, *counted = value
    given = asked.given(*_SHOWN, "weights", "seed")
    return Ensemble.from_recipe(module, recipe, members=_members(counted, asked, "a module with a recipe"), **given)


def _is_conditional(value: object) -> bool:
    if isinstance(value, tuple | list):
        return len(value) == 2 and isinstance(value[0], nn.Module) and type(value[1]) is int
    return isinstance(value, nn.Module) and not isinstance(value, nn.ModuleList)


def _from_conditional(value: Any, asked: Asked) -> Ensemble:
    module, *counted = value if isinstance(value, tuple | list) else (value,)
    members = _members(counted, asked, "one module alone is one forward(cond_id, …), and several are a list")
    return Ensemble.from_conditional(module, members=members, **asked.given(*_SHOWN))


def _members(counted: Sequence[int], asked: Asked, what: str) -> int:
    if counted and asked.members is not None:
        raise SpecError(f"the factory says {number_of(counted[0], 'member')}: leave out --members")
    members = counted[0] if counted else asked.members
    if members is None:
        raise SpecError(f"{what}: how many members? give --members, or return their number too")
    return members


def _is_list(value: object) -> bool:
    if isinstance(value, list | tuple | nn.ModuleList):
        return len(value) > 0 and all(isinstance(part, nn.Module) for part in value)
    return hasattr(value, "__next__")


def _from_list(value: Iterable[nn.Module], asked: Asked) -> Ensemble:
    return Ensemble.from_modules(_watched(value), **asked.given(*_SHOWN))


def _watched(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """One module after the other: an iterator runs its user's code only here."""
    iterator = iter(modules)
    while True:
        module = users_code("making the next module of the list", lambda: next(iterator, None))
        if module is None:
            return
        yield module
        del module  # it is let go before the next one is made


_WITH_INPUTS = frozenset(_SHOWN)
_NEEDED = frozenset({"example_inputs"})

RETURNED = (
    Returned(what="an hnexport.Ensemble", fits=lambda value: isinstance(value, Ensemble), make=lambda v, _: v),
    Returned(
        what="a checkpoint, or whatever has ensemble()",
        fits=lambda value: not isinstance(value, nn.Module) and callable(getattr(value, "ensemble", None)),
        make=lambda value, _: value,
    ),
    Returned(
        what="(hnet, mnet) of hypnettorch, or (hnet, mnet, {option: value})",
        fits=_is_pair,
        make=_from_pair,
        takes=_WITH_INPUTS | {"members"},
        needs=_NEEDED,
        says=lambda value: value[2] if len(value) == 3 else {},
    ),
    Returned(
        what="(hypernet, network), with --members or (hypernet, network, members) where hypernet takes condition ids",
        fits=_is_hypernetwork,
        make=_from_hypernetwork,
        takes=_WITH_INPUTS | {"members"},
        needs=_NEEDED,
        says=lambda value: ("members",) if len(value) == 3 else (),
    ),
    Returned(
        what="(module, recipe), or (module, recipe, members)",
        fits=_has_recipe,
        make=_from_recipe,
        takes=_WITH_INPUTS | {"members", "weights", "seed"},
        needs=_NEEDED,
        says=lambda value: ("members",) if len(value) == 3 else (),
    ),
    Returned(
        what="a module forward(cond_id, …) with --members, or (module, members)",
        fits=_is_conditional,
        make=_from_conditional,
        takes=_WITH_INPUTS | {"members"},
        needs=_NEEDED,
        says=lambda value: () if isinstance(value, nn.Module) else ("members",),
    ),
    Returned(what="a list of modules", fits=_is_list, make=_from_list, takes=_WITH_INPUTS, needs=_NEEDED),
)
"""In the order in which they are tried."""


def is_returned(value: object) -> bool:
    """Whether this is what a factory returns, and no factory."""
    return any(kind.fits(value) for kind in RETURNED)


def source_of(target: str, value: Any, asked: Asked) -> Ensemble | Checkpoint:
    """The ensemble of what a factory returned.

    Raises:
        SpecError: it is nothing of the table, or more or less is said than goes with it.
        HnexportError: it makes no ensemble, for the reason that is given.
    """
    kind = next((kind for kind in RETURNED if kind.fits(value)), None)
    if kind is None:
        choices = "".join(f"\n  {kind.what}" for kind in RETURNED)
        raise SpecError(f"{target} returned {_shown(value)}; expected one of{choices}")
    said = asked.given(*_FLAGS)
    for name in said:
        if name not in kind.takes:
            raise SpecError(f"{target} returned {kind.what}: leave out {_FLAGS[name]}")
    for name in kind.needs:
        if name not in (*said, *kind.says(value)):
            raise SpecError(
                f"{target} returned {kind.what}: say what forward takes with --input, for instance --input "
                "image=float32[batch,3,32,32], or with --samples FILE"
            )
    made: Ensemble | Checkpoint = kind.make(value, asked)
    return made


def fitting(value: Any, asked: Asked) -> Asked:
    """What of `asked` goes with what a factory returned, and is not said by it."""
    kind = next((kind for kind in RETURNED if kind.fits(value)), None)
    kept = kind.takes - frozenset(kind.says(value)) if kind is not None else frozenset()
    return Asked(**asked.given(*kept))


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        inside = ", ".join(type(part).__name__ for part in value[:5]) + ", …" * (len(value) > 5)
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if isinstance(value, Mapping):
        keys = ", ".join(repr(key) for key in list(value)[:5]) + ", …" * (len(value) > 5)
        return f"a dict of {keys or 'nothing'}"
    return "nothing" if value is None else f"something of type {type(value).__name__}"
