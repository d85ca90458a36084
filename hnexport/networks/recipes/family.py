"""Modules with a recipe as a family: the recipe and its chunk plan stand in the manifest. Standard library only."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnexport.errors import BundleError
from hnexport.families import Described
from hnexport.hypernet.plan import ChunkPlan
from hnexport.hypernet.storage import GeneratorSpec, stored_tensors
from hnexport.networks.recipes.storage import RecipeSpec, generator_spec
from hnexport.reading import shown
from hnexport.records import from_json, to_json
from hnexport.spec import Slot, Source, StoredKind
from hnexport.spec.bounds import EXPANSION, MAX_SLOTS, SMALL_BYTES
from hnexport.spec.counts import weight_counts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble

__all__ = ["check", "check_described", "counts", "described", "ensemble", "generator", "plan", "with_own"]

_SOURCES = {StoredKind.SHARED: Source.SHARED, StoredKind.MEMBER: Source.MEMBER}


def check(spec: Mapping[str, Any], listed_bytes: int) -> None:
    """Bound what a specification asks for; see `hnexport.families.Family`."""
    found = from_json(RecipeSpec, spec)
    plan, hidden = found.plan, found.recipe.hidden_layers
    if any(min(part.chunks, part.chunk_size, part.embedding_size) < 1 for part in plan.hypernets):
        raise BundleError("$.source.spec.plan.hypernets: expected sizes of at least 1")
    for what, count in (
        ("chunks", plan.chunks),
        ("pieces", sum(len(item.pieces) for item in plan.assembly.values())),
        ("hidden layers", len(hidden) * len(plan.hypernets)),
    ):
        if count > MAX_SLOTS:
            raise BundleError(f"$.source.spec: asks for {count} {what}, at most {MAX_SLOTS} are read")
    limit = max(SMALL_BYTES, EXPANSION * listed_bytes)
    needed = 4 * sum(part.chunks * max(part.chunk_size, *hidden, 1) for part in plan.hypernets)
    if needed > limit:
        raise BundleError(
            f"$.source.spec: one member's chunks would take {needed} bytes, at most {limit} are allowed for files of "
            f"{listed_bytes} bytes ({EXPANSION} times as much, or {SMALL_BYTES})"
        )


def described(spec: Mapping[str, Any]) -> None:
    """Slots and signature are the module's: the manifest's own tables are all that is known."""


def check_described(found: Described, spec: Mapping[str, Any]) -> None:
    """What is stored has to be what the recipe's plan, and shared and member tensors, need for these slots."""
    conditions = found.signature.conditions
    if conditions:
        raise BundleError(f"$.conditions: the weights of a recipe come of ids alone, found {shown(conditions)}")
    expected = {item.name: item for item in stored_tensors(_generator_spec(found, spec))}
    for item in found.stored:
        wanted = expected.pop(item.name, None)
        if wanted != item:
            raise BundleError(f"$.stored: expected {shown(to_json(wanted), 250)}, found {shown(to_json(item), 250)}")
    if expected:
        raise BundleError(f"$.stored: {shown(next(iter(expected)))} is missing")


def counts(found: Described) -> dict[str, int | float]:
    """As hypnettorch counts the weights of such a network."""
    return weight_counts(found.slots, found.stored, found.members)


def plan(spec: Mapping[str, Any]) -> ChunkPlan:
    """The chunk plan; empty where the recipe generates nothing."""
    return from_json(RecipeSpec, spec).plan


def generator(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> "nn.Module":
    """The generator over stored tensors, taken as they are."""
    from hnexport.hypernet.generator import WeightGenerator

    return WeightGenerator(_generator_spec(described, spec), tensors).eval()


def ensemble(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """The network is code, which no bundle holds as data."""


def _generator_spec(found: Described, spec: Mapping[str, Any]) -> GeneratorSpec:
    """From the tables: what nothing stores as it is, the plan has to generate."""
    record = from_json(RecipeSpec, spec)
    own = {slot.name: slot for slot in found.slots if slot.alias_of is None}
    known = {item.slot: _SOURCES[item.kind] for item in found.stored if item.slot and item.kind in _SOURCES}
    for name, slot in own.items():
        if name not in known and name not in record.plan.assembly:
            raise BundleError(f"$.stored: nothing fills the slot {shown(name)}")
        if name in record.plan.assembly and slot.dtype != "float32":
            raise BundleError(f"$.slots: {shown(name)} is {slot.dtype}, only float32 is generated")
    wanted = {name: known.get(name, Source.GENERATED) for name in own}
    return generator_spec(found.name, found.members, found.slots, wanted, record)


def with_own(ensemble: "Ensemble", own: Sequence[Slot], tensors: "Mapping[str, Tensor]") -> "Ensemble":
    """The same ensemble over these tensors, in which each member has its own of some slots; so says its recipe."""
    from hnexport.networks.recipes.ensemble import with_own

    return with_own(ensemble, own, tensors)
