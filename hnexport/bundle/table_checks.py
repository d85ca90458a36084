"""What the tables of a manifest may say: inputs, outputs, slots and stored tensors, whatever family they are of."""

from collections.abc import Sequence

from hnexport.bundle.manifest import Manifest
from hnexport.errors import BundleError
from hnexport.reading import shown
from hnexport.spec import Slot, StoredKind, StoredTensor, TensorSpec
from hnexport.spec.bases import unquantised
from hnexport.spec.bounds import EXPANSION, MAX_SLOTS, SMALL_BYTES

__all__ = ["check_lengths", "check_tables"]

MAX_INPUTS = 1000
MAX_RANK = 64  # numpy's own
MAX_SIZE = 2**50


def check_lengths(manifest: Manifest) -> None:
    """Bound how many tensors there are, and their ranks and sizes, before anything is computed of them.

    Raises:
        BundleError: there are too many, or a tensor has an impossible shape.
    """
    tables: tuple[tuple[str, int, Sequence[TensorSpec | Slot | StoredTensor]], ...] = (
        ("inputs", MAX_INPUTS, manifest.inputs),
        ("outputs", MAX_INPUTS, manifest.outputs),
        ("slots", MAX_SLOTS, manifest.slots),
        ("stored", MAX_SLOTS, manifest.stored),
    )
    for what, most, table in tables:
        _require(len(table) <= most, f"$.{what}: {len(table)} of them, at most {most} are read")
        for item in table:
            _require(
                len(item.shape) <= MAX_RANK
                and all(isinstance(size, str) or 0 <= size <= MAX_SIZE for size in item.shape),
                f"$.{what}: {shown(item.name)} has the shape {shown(list(item.shape[: MAX_RANK + 1]))}",
            )


def check_tables(manifest: Manifest) -> None:
    """Compare slots and stored tensors with each other, with the members and with the files.

    Raises:
        BundleError: the first thing that is wrong, with its path in the manifest.
        SpecError: a dtype does not exist, or the integers and scales of a basis do not fit each other.
    """
    _require(manifest.members >= 1, f"$.members: expected at least 1, found {manifest.members}")
    for what, table in (("slots", manifest.slots), ("stored", manifest.stored)):
        names = [item.name for item in table]
        _require(len(set(names)) == len(names), f"$.{what}: a name stands twice")
        _require(all(name.isprintable() and name for name in names), f"$.{what}: a name cannot be printed")
        for item in table:
            TensorSpec(name=item.name, dtype=item.dtype, shape=item.shape)  # its own checks
    unquantised(manifest.stored)  # integers and scales fit each other
    slots = {slot.name: slot for slot in manifest.slots}
    for slot in manifest.slots:
        _check_alias(slot, slots)
    for item in manifest.stored:
        _check_stored(item, slots, manifest.members)
    limit = max(SMALL_BYTES, EXPANSION * sum(record.size_bytes for record in manifest.files.values()))
    needed = sum(slot.size_bytes for slot in manifest.slots if slot.alias_of is None)
    _require(
        needed <= limit,
        f"$.slots: one member would take {shown(needed)} bytes, at most {limit} are allowed for its files",
    )


def _check_alias(slot: Slot, slots: dict[str, Slot]) -> None:
    if slot.alias_of is None:
        return
    own = slots.get(slot.alias_of)
    if own is None or own.alias_of is not None:
        raise BundleError(f"$.slots: {shown(slot.name)} is tied to {shown(slot.alias_of)}, which is no slot of its own")
    _require(
        (own.dtype, own.shape) == (slot.dtype, slot.shape),
        f"$.slots: {shown(slot.name)} is tied to {shown(own.name)}, which has another dtype or shape",
    )


def _check_stored(item: StoredTensor, slots: dict[str, Slot], members: int) -> None:
    where = f"$.stored: {shown(item.name)} of shape {list(item.shape)}"
    _require(not item.is_conditional or item.shape[:1] == (members,), f"{where} does not have {members} members")
    if item.kind not in (StoredKind.SHARED, StoredKind.MEMBER):
        return
    slot = slots.get(item.slot or "")
    if slot is None or slot.alias_of is not None:
        raise BundleError(f"{where} fills {shown(item.slot)}, which is no slot of its own")
    own = item.shape[1:] if item.is_conditional else item.shape
    _require(
        (item.dtype, own) == (slot.dtype, slot.shape),
        f"{where} and dtype {item.dtype} does not fill {shown(slot.name)}, {slot.dtype} {list(slot.shape)}",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BundleError(message)
