"""Lists of modules as a family: what a manifest can say about one is in its own tables. Standard library only."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnexport.errors import BundleError
from hnexport.families import Described
from hnexport.hypernet.plan import ChunkPlan
from hnexport.reading import shown
from hnexport.records import to_json
from hnexport.spec import Slot, StoredKind, stored_as

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble


__all__ = ["check", "check_described", "counts", "described", "ensemble", "generator", "plan", "with_own"]


def check(spec: Mapping[str, Any], listed_bytes: int) -> None:
    """Nothing is in the specification; see `hnexport.families.Family`."""
    if spec:
        raise BundleError(f"$.source.spec: expected none for a list of modules, found {shown(sorted(spec))}")


def described(spec: Mapping[str, Any]) -> None:
    """The manifest's own tables are all that is known."""


def check_described(found: Described, spec: Mapping[str, Any]) -> None:
    """Every slot that is not tied is stored once, for all members or for each; nothing else is stored."""
    conditions = found.signature.conditions
    if conditions:
        raise BundleError(
            f"$.conditions: the weights of a list of modules come of ids alone, found {shown(conditions)}"
        )
    own = {slot.name: slot for slot in found.slots if slot.alias_of is None}
    for slot in found.slots:
        target = own.get(slot.alias_of or slot.name)
        if target is None or (slot.dtype, slot.shape) != (target.dtype, target.shape):
            raise BundleError(
                f"$.slots: {shown(slot.name)} is tied to {shown(slot.alias_of)}, which is no slot like it"
            )
    left = dict(own)
    for item in found.stored:
        slot_of = None if item.slot is None else left.pop(item.slot, None)
        if slot_of is None:
            raise BundleError(f"$.stored: {shown(item.name)} fills no slot, or one that is filled already")
        expected = stored_as(slot_of, found.members, shared=item.kind is StoredKind.SHARED)
        if item != expected:
            raise BundleError(f"$.stored: expected {shown(to_json(expected), 250)}, found {shown(to_json(item), 250)}")
    if left:
        raise BundleError(f"$.stored: nothing fills the slot {shown(next(iter(left)))}")


def counts(found: Described) -> dict[str, int | float]:
    """Of parameters alone: what one network has, and what is stored for all members; a tied tensor counts once."""
    network = sum(slot.size for slot in found.slots if slot.trained and slot.alias_of is None)
    weights = sum(item.size for item in found.stored if item.trained)
    own = sum(item.size for item in found.stored if item.trained and item.is_conditional)
    return {
        "network: weights": network,
        "stored for all members: weights": weights,
        "stored for all members: weights that they share": weights - own,
        "stored for all members: weights of single members": own,
        "stored for all members: ratio to separate networks": weights / (found.members * network) if network else 1.0,
        "each further member: weights": own // found.members,
    }


def plan(spec: Mapping[str, Any]) -> ChunkPlan:
    """Nothing is generated from chunks."""
    return ChunkPlan()


def generator(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> "nn.Module":
    """The generator over stored tensors, taken as they are."""
    from hnexport.networks.modules.stacked import Stacked

    return Stacked(described.stored, described.members, tensors).eval()


def ensemble(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """The network is code, which no bundle holds as data."""


def with_own(ensemble: "Ensemble", own: Sequence[Slot], tensors: "Mapping[str, Tensor]") -> "Ensemble":
    """The same ensemble over these tensors, in which each member has its own of some slots."""
    import dataclasses

    from hnexport.hypernet.selection import with_copies
    from hnexport.networks.modules.stacked import Stacked

    stored, held = with_copies(ensemble.stored, tensors, own, ensemble.members)
    return dataclasses.replace(ensemble, stored=stored, generator=Stacked(stored, ensemble.members, held).eval())
