"""Hypernetworks of anybody's making as a family: their steps stand in the manifest, so that `verify` computes every
weight again; the network is code. Standard library only.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnexport.errors import BundleError, SpecError
from hnexport.families import Described
from hnexport.hypernet.plan import ChunkPlan
from hnexport.names import COND_ID
from hnexport.networks.steps.written import INPUT, OUTPUTS, check_steps, tensors_in
from hnexport.reading import shown
from hnexport.records import to_json
from hnexport.spec import Slot, StoredKind, stored_as

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble

__all__ = ["check", "check_described", "counts", "described", "ensemble", "generator", "plan", "with_own"]


def check(spec: Mapping[str, Any], listed_bytes: int) -> None:
    """Check that steps are steps; what they compute is bounded before they run, in `generator`."""
    check_steps(spec)


def described(spec: Mapping[str, Any]) -> None:
    """Slots and signature are the network's: the manifest's own tables are all that is known."""


def check_described(found: Described, spec: Mapping[str, Any]) -> None:
    """Every slot that is not tied is filled once, by its own tensor or by the steps; all else is the hypernetwork's.

    What the steps give is checked with `generator`.
    """
    own = {slot.name: slot for slot in found.slots if slot.alias_of is None}
    left = dict(own)
    for item in found.stored:
        if item.kind is not StoredKind.SHARED:
            if item.hypernet is None or item.slot is not None or item.is_conditional:
                raise BundleError(f"$.stored: {shown(item.name)} belongs to no hypernetwork, and to no slot alone")
            continue
        slot = left.pop(item.slot or "", None)
        if slot is None:
            raise BundleError(f"$.stored: {shown(item.name)} fills no slot, or one that is filled already")
        expected = stored_as(slot, found.members, shared=True)
        if item != expected:
            raise BundleError(f"$.stored: expected {shown(to_json(expected), 250)}, found {shown(to_json(item), 250)}")
    if set(left) != set(spec[OUTPUTS]):
        wrong = next(iter(set(left) ^ set(spec[OUTPUTS])))
        raise BundleError(f"$.source.spec: {shown(wrong)} is not filled exactly once")
    held = {item.name for item in found.stored if item.slot is None}
    held |= {INPUT + name for name in (COND_ID, *found.signature.conditions)}
    unknown = next((name for name in tensors_in(spec) if name not in held), None)
    if unknown is not None:
        raise BundleError(f"$.source.spec: a step uses {shown(unknown)}, which is no tensor of the hypernetwork")


def counts(found: Described) -> dict[str, int | float]:
    """Of parameters alone: what the network has, and what is stored for it, all members' together."""
    filled = {item.slot for item in found.stored}
    own = [slot for slot in found.slots if slot.trained and slot.alias_of is None]
    trained = [item for item in found.stored if item.trained]
    return {
        "network: weights": sum(slot.size for slot in own),
        "network: weights that are generated": sum(slot.size for slot in own if slot.name not in filled),
        "hypernetwork: weights": sum(item.size for item in trained if item.hypernet is not None),
        "stored: weights": sum(item.size for item in trained),
    }


def plan(spec: Mapping[str, Any]) -> ChunkPlan:
    """The hypernetwork is taken as it is, whatever its chunks are."""
    return ChunkPlan()


def generator(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> "nn.Module":
    """The generator over stored tensors, taken as they are.

    Raises:
        BundleError: the steps give other tensors than the slots, or compute far more than they return.
    """
    from hnexport.networks.steps.generated import Generated, check_generated

    made = Generated(described.stored, described.members, tensors, spec).eval()
    own = tuple(slot for slot in described.slots if slot.alias_of is None)
    check_generated(made, own, described.signature.of_generator)
    return made


def ensemble(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """The network is code, which no bundle holds as data."""


def with_own(ensemble: "Ensemble", own: Sequence[Slot], tensors: "Mapping[str, Tensor]") -> "Ensemble":
    """What members share is what the network itself has."""
    raise SpecError(
        f"{ensemble.name} was captured from networks of your own: let the hypernetwork return what each member shall "
        "have for itself, statistics of its batch norms too, and make the ensemble of them again"
    )
