"""What slots and stored tensors say about a member: how large it is, and how much of it is its own."""

from hnexport.families import Described
from hnexport.spec import BasisDtype, StoredKind
from hnexport.spec.bases import basis_dtype

__all__ = ["makes_bases", "member_bytes", "own_share"]


def member_bytes(described: Described) -> int:
    """The size of one member's weights, in bytes: of every slot that is not tied to another."""
    return sum(slot.size_bytes for slot in described.slots if slot.alias_of is None)


def own_share(described: Described) -> float:
    """How much of a member's weights is its own, 0 to 1 of their bytes: generated, or stored for it alone."""
    shared = {item.slot for item in described.stored if item.kind is StoredKind.SHARED}
    own = sum(slot.size_bytes for slot in described.slots if slot.alias_of is None and slot.name not in shared)
    return own / max(1, member_bytes(described))


def makes_bases(described: Described) -> bool:
    """Whether a hypernetwork's bases are stored in fewer bits, and made of what is stored where they are used."""
    return basis_dtype(described.stored) not in (None, BasisDtype.FLOAT32)
