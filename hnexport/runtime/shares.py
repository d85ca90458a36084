"""What slots and stored tensors say about a member: how large it is, and how much of it is its own."""

from hnexport.families import Described
from hnexport.spec import StoredKind

__all__ = ["computes_bases_in_half", "member_bytes", "own_share"]


def member_bytes(described: Described) -> int:
    """The size of one member's weights, in bytes: of every slot that is not tied to another."""
    return sum(slot.size_bytes for slot in described.slots if slot.alias_of is None)


def own_share(described: Described) -> float:
    """How much of a member's weights is its own, 0 to 1 of their bytes: generated, or stored for it alone."""
    shared = {item.slot for item in described.stored if item.kind is StoredKind.SHARED}
    own = sum(slot.size_bytes for slot in described.slots if slot.alias_of is None and slot.name not in shared)
    return own / max(1, member_bytes(described))


def computes_bases_in_half(described: Described) -> bool:
    """Whether a hypernetwork's bases are stored in float16, and cast where they are used."""
    return any(item.kind is StoredKind.BASIS and item.dtype == "float16" for item in described.stored)
