"""hypnettorch's networks as a family: the hypernetwork is data, the main network is code. Standard library only."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hnexport.errors import BundleError, SpecError
from hnexport.families import Described
from hnexport.hypernet.plan import ChunkPlan
from hnexport.networks.steps.written import INPUT, OUTPUTS, check_steps, tensors_in
from hnexport.reading import shown
from hnexport.records import to_json
from hnexport.spec import Slot, StoredKind, stored_as
from hnexport.spec.counts import weight_counts

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hnexport.ensemble import Ensemble

__all__ = ["check", "check_described", "counts", "described", "ensemble", "generator", "plan", "with_own"]


def check(spec: Mapping[str, Any], listed_bytes: int) -> None:
    """Check the steps; see `hnexport.families.Family`. How much they compute is bounded where they are run."""
    check_steps(spec)


def described(spec: Mapping[str, Any]) -> None:
    """The manifest's own tables are all that is known."""


def check_described(found: Described, spec: Mapping[str, Any]) -> None:
    """Every slot is filled once, from a tensor of its own or by the steps; every other tensor is the hypernetwork's.

    The steps are with `generator`.
    """
    for slot in found.slots:
        if slot.alias_of is not None:
            raise BundleError(f"$.slots: {shown(slot.name)} is tied to another: no slot of a generated network is")
    own = {slot.name: slot for slot in found.slots}
    filled: set[str] = set()
    for item in found.stored:
        if item.kind not in (StoredKind.SHARED, StoredKind.MEMBER):
            if item.hypernet is None or item.slot is not None:
                raise BundleError(f"$.stored: {shown(item.name)} belongs to no hypernetwork, and to no slot alone")
            continue
        slot_of = own.get(item.slot or "")
        if slot_of is None or slot_of.name in filled:
            raise BundleError(f"$.stored: {shown(item.name)} fills no slot, or one that is filled already")
        filled.add(slot_of.name)
        expected = stored_as(slot_of, found.members, shared=item.kind is StoredKind.SHARED)
        if item != expected:
            raise BundleError(f"$.stored: expected {shown(to_json(expected), 250)}, found {shown(to_json(item), 250)}")


def counts(found: Described) -> dict[str, int | float]:
    """As hypnettorch counts the weights of such a network."""
    return weight_counts(found.slots, found.stored, found.members)


def plan(spec: Mapping[str, Any]) -> ChunkPlan:
    """The hypernetwork is taken as it is, whatever its chunks are."""
    return ChunkPlan()


def generator(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]") -> "nn.Module":
    """The generator over stored tensors, taken as they are.

    Raises:
        BundleError: steps and tables contradict each other, or the steps compute far more than they return.
    """
    from hnexport.networks.steps.generated import Generated, check_generated

    _check_filled(described, spec)
    made = Generated(described.stored, described.members, tensors, spec).eval()
    check_generated(made, described.slots, described.signature.of_generator)
    return made


def ensemble(described: Described, spec: Mapping[str, Any], tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """The main network is code, which no bundle holds as data."""


def _check_filled(described: Described, spec: Mapping[str, Any]) -> None:
    held = {item.name for item in described.stored if item.slot is None}
    held |= {INPUT + name for name in described.signature.conditions}
    unknown = next((name for name in tensors_in(spec) if name not in held), None)
    if unknown is not None:
        raise BundleError(f"$.source.spec: a step uses {shown(unknown)}, which is no tensor of the hypernetwork")
    filled = [*(item.slot for item in described.stored if item.slot is not None), *spec[OUTPUTS]]
    slots = [slot.name for slot in described.slots]
    if sorted(filled) != sorted(slots):
        wrong = next(iter(set(filled) ^ set(slots)), "a slot")
        raise BundleError(f"$.source.spec: {shown(wrong)} is not filled exactly once")


def with_own(ensemble: "Ensemble", own: Sequence[Slot], tensors: "Mapping[str, Tensor]") -> "Ensemble":
    """What members share is what the networks themselves share."""
    raise SpecError(
        f"{ensemble.name} was captured from networks of hypnettorch: let mnet keep statistics of each member "
        "(checkpoint_stats, condition=cond_id), run the training data through it in training mode, and make the "
        "ensemble of them again"
    )
