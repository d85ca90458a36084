"""Which members are compared: all of a small ensemble, of a large one as many as a budget of time allows."""

from collections.abc import Sequence

import numpy as np

from hnexport.errors import ParityError

__all__ = [
    "MEMBERS_CHECKED_BY_DEFAULT",
    "checked_members",
    "drawn_members",
    "new_seed",
    "sample_members",
    "unknown_ids",
]

MEMBERS_CHECKED_BY_DEFAULT = 32


def sample_members(members: int, seed: int = 0, count: int = MEMBERS_CHECKED_BY_DEFAULT) -> tuple[int, ...]:
    """All members of an ensemble of up to `count`; otherwise the first, the last and a seeded sample of the others."""
    if members <= max(count, 2):
        return tuple(range(members))
    random = np.random.default_rng(seed)
    middle = random.choice(np.arange(1, members - 1), max(count, 2) - 2, replace=False)
    return (0, *sorted(int(member) for member in middle), members - 1)


def checked_members(members: int, chosen: Sequence[int] | None) -> tuple[int, ...]:
    """The members to compare: those chosen, or the default sample.

    Raises:
        ParityError: one of them does not exist, or there are none.
    """
    if chosen is None:
        return sample_members(members)
    unknown = [member for member in chosen if not 0 <= member < members]
    if unknown or not chosen:
        what = f"member {unknown[0]} does not exist" if unknown else "no member was named"
        raise ParityError(f"{what}: this ensemble has members 0 to {members - 1}")
    return tuple(dict.fromkeys(chosen))


def unknown_ids(members: int, bits: int = 64) -> tuple[int, ...]:
    """Condition ids that no ensemble of this size has, as far as a runtime tells them apart."""
    return (-1, members, 2**31 - 1, *((2**32, 2**63 - 1, -(2**63)) if bits == 64 else ()))  # 2**32 cut to 32 bits is 0


def new_seed() -> int:
    """A seed that is another one at each call."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def drawn_members(members: int, seed: int, held: Sequence[int], fresh: int) -> tuple[int, ...]:
    """All members of a small ensemble; otherwise a sample that is drawn anew, the first and the last always.

    Args:
        held: those whose reference is known.
        fresh: how many of the others can be computed. Where a sample asks for more, held ones take their places.
    """
    drawn, known = sample_members(members, seed), set(held)
    new = [member for member in drawn if member not in known]
    kept = sorted(new, key=lambda member: member not in (0, members - 1))[:fresh]
    found = {member for member in drawn if member in known} | set(kept)
    others = [member for member in held if member not in found]
    missing = min(len(drawn) - len(found), len(others))
    if missing:
        found |= {int(member) for member in np.random.default_rng(seed).choice(others, missing, replace=False)}
    return tuple(sorted(found))
