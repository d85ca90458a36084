"""A recipe as data: ordered rules of a pattern over tensor names and a source, and how generated tensors are planned.

The first rule whose pattern matches decides. Standard library only.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hnexport.errors import SpecError
from hnexport.reading import ReadError, read_bytes, shown
from hnexport.records import RecordError, from_json
from hnexport.spec import Activation, BasisDtype, HypernetSpec, Slot, Source
from hnexport.spec.checks import require, require_kind, require_positive, require_tuple

__all__ = ["ModuleRecipe", "Planner", "Rule", "read_recipe", "sources"]

K = TypeVar("K", bound=StrEnum)
_LARGEST_FILE = 2**20


class Planner(StrEnum):
    """How generated tensors are made of chunks.

    `by-shape`: tensors of one shape share an internal hypernetwork, a chunk each; one larger than `chunk_size` is cut
    along its second axis, the first of its inputs. `whole`: one internal hypernetwork, whose one chunk holds all of
    them. `flat`: one internal hypernetwork, whose chunks of `chunk_size` elements hold all of them end to end.
    """

    BY_SHAPE = "by-shape"
    WHOLE = "whole"
    FLAT = "flat"


@dataclass(frozen=True)
class Rule:
    """Where the tensors come from whose names match a pattern.

    Attributes:
        pattern: of a whole name, as `named_parameters()` has it: `*` is any text, with or without dots, `?` one
            character, `[01]` one of these. `blocks.*.weight`, `head.*`, `*`.
        source: `shared`, `member` or `generated`.
    """

    pattern: str
    source: Source

    if TYPE_CHECKING:  # a source may be given by its name, which type checkers of other projects shall not refuse

        def __init__(self, pattern: str, source: Source | str) -> None: ...

    def __post_init__(self) -> None:
        require(isinstance(self.pattern, str) and bool(self.pattern), f"a pattern is text, found {shown(self.pattern)}")
        object.__setattr__(self, "source", _member_of("source", self.source, Source))


@dataclass(frozen=True, kw_only=True)
class ModuleRecipe:
    """Where every tensor of a module comes from.

    Attributes:
        rules: the first that matches a tensor's name decides; one has to match.
        planner: how what is generated is made of chunks.
        embedding_size: of each chunk embedding.
        embedding_sizes: others, by a pattern over the names that the planner gives internal hypernetworks
            (`shape_64_64`, `shape_*_3_3`); the first that matches decides.
        chunk_size: in elements: with `by-shape` what a chunk should not exceed, with `flat` what each has.
        hidden_layers: sizes of each internal hypernetwork's hidden layers; empty means linear.
        bias: whether the internal hypernetworks' layers have biases.
        activation: between hidden layers.
        basis_dtype: the dtype in which bases are stored.
    """

    rules: tuple[Rule, ...]
    planner: Planner = Planner.BY_SHAPE
    embedding_size: int = 8
    embedding_sizes: Mapping[str, int] = field(default_factory=dict)
    chunk_size: int = 65536
    hidden_layers: tuple[int, ...] = field(default=())
    bias: bool = False
    activation: Activation = Activation.RELU
    basis_dtype: BasisDtype = BasisDtype.FLOAT32

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", _tuple("rules", self.rules))
        object.__setattr__(self, "hidden_layers", _tuple("hidden_layers", self.hidden_layers))
        for rule in self.rules:
            require(isinstance(rule, Rule), f"rules: expected Rule(pattern, source), found {shown(rule)}")
        require(bool(self.rules), "rules: a recipe needs at least one, for instance Rule('*', 'generated')")
        for name, kind in (("planner", Planner), ("activation", Activation), ("basis_dtype", BasisDtype)):
            object.__setattr__(self, name, _member_of(name, getattr(self, name), kind))
        require(type(self.bias) is bool, f"bias: expected True or False, found {shown(self.bias)}")
        require_positive("embedding_size", (self.embedding_size,))
        require_positive("chunk_size", (self.chunk_size,))
        what = f"embedding_sizes: expected {{pattern: size}}, found {shown(self.embedding_sizes)}"
        require(isinstance(self.embedding_sizes, Mapping) and all(map(_is_text, self.embedding_sizes)), what)
        require_positive("embedding_sizes", tuple(self.embedding_sizes.values()))
        require_positive("hidden_layers", self.hidden_layers)

    @property
    def hypernet(self) -> HypernetSpec:
        """How chunks are generated."""
        return HypernetSpec(
            hidden_layers=self.hidden_layers, bias=self.bias, activation=self.activation, basis_dtype=self.basis_dtype
        )


def read_recipe(path: str | PathLike[str]) -> ModuleRecipe:
    """A recipe in TOML: the fields of `ModuleRecipe`, then `[[rules]]` with `pattern` and `source`, in their order.

    Raises:
        SpecError: the file cannot be read, or is no recipe; the message says where.
    """
    path = Path(path)
    try:
        return from_json(ModuleRecipe, tomllib.loads(read_bytes(path, _LARGEST_FILE).decode()))
    except (ReadError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecordError, SpecError) as error:
        raise SpecError(f"{path} is no recipe: {error}") from error


def sources(recipe: ModuleRecipe, slots: Iterable[Slot]) -> dict[str, Source]:
    """The source of every slot that is no alias, by name.

    Raises:
        SpecError: no rule matches a tensor, a rule decides for none, or a tensor cannot be generated.
    """
    slots = tuple(slots)
    own = [slot for slot in slots if slot.alias_of is None]
    found, used = {}, set()
    for slot in own:
        rule = next((rule for rule in recipe.rules if fnmatchcase(slot.name, rule.pattern)), None)
        if rule is None:
            raise SpecError(
                f"no rule of the recipe matches {slot.name!r} {list(slot.shape)}: name it, or say at the end where all "
                "others come from: Rule('*', 'shared')"
            )
        used.add(rule)
        found[slot.name] = rule.source
        if rule.source is Source.GENERATED:
            _check_generated(slot, rule)
    for rule in recipe.rules:
        if rule not in used:
            raise SpecError(_idle(rule, slots))
    return found


def _check_generated(slot: Slot, rule: Rule) -> None:
    what = f"{slot.name!r}, which {rule.pattern!r} matches,"
    remedy = f"say before that rule where it comes from: Rule({slot.name!r}, 'shared')"
    require(slot.trained, f"{what} is a buffer, which training does not change: it cannot be generated; {remedy}")
    require(slot.dtype == "float32", f"{what} is {slot.dtype}: only float32 can be generated; {remedy}")
    require(slot.size > 0, f"{what} is empty: there is nothing to generate; {remedy}")


def _idle(rule: Rule, slots: tuple[Slot, ...]) -> str:
    """Why a rule decides for no tensor."""
    matched = [slot for slot in slots if fnmatchcase(slot.name, rule.pattern)]
    what = f"the rule {rule.pattern!r} of the recipe decides for no tensor"
    if not matched:
        near = get_close_matches(rule.pattern, [slot.name for slot in slots], n=3, cutoff=0.4)
        names = near or [slot.name for slot in slots[:3]]
        return f"{what}: none has such a name; there are {', '.join(names)}{', …' * (len(slots) > len(names))}"
    tied = next((slot for slot in matched if slot.alias_of is not None), None)
    if tied is not None and len(matched) == 1:
        return f"{what}: {tied.name} is tied to {tied.alias_of}, give the rule for that"
    return f"{what}: rules before it decide for {matched[0].name}; move it before them, or remove it"


def _member_of(what: str, value: object, kind: type[K]) -> K:
    """An enum's member by its value too, as one writes it."""
    if isinstance(value, str) and value in {member.value for member in kind}:
        return kind(value)
    require_kind(what, value, kind)
    return kind(str(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _tuple(what: str, value: object) -> object:
    value = tuple(value) if isinstance(value, list) else value
    require_tuple(what, value)
    return value
