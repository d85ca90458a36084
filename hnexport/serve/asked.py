"""What a request asks for beside its tensors: which members, what of them, in which precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hnexport.bundle.manifest import Manifest
from hnexport.errors import RuntimeInputError
from hnexport.members import check_member, check_members
from hnexport.names import COND_ID
from hnexport.reading import shown
from hnexport.runtime.anytime import BUNDLE, bundle_rule, check_anytime
from hnexport.runtime.until import Until, as_until
from hnexport.serve.outputs import summary_specs
from hnexport.serve.refusal import RefusedError
from hnexport.spec import Signature

__all__ = ["PARAMETERS", "Asked", "asked"]

PARAMETERS: Mapping[str, str] = {
    "member": "one member, a number from 0; outputs are [batch, …]",
    "members": 'several: "all", "2,3,7" or a list of numbers; outputs are [member, batch, …]',
    "mean": "true: what the members (all, where none are named) say together, and how much they disagree",
    "until": '"exact", "votes", "bundle" or a probability such as 0.8: the mean of no more members than a sample takes',
    "least": "with until: at least so many members",
    "precision": "one that this service has; by default its first",
    "batch_details": "true: the answer says in which batch it was computed",
    "timeout": "in microseconds: refused with 503 where the call has not begun by then",
}
"""What a request may say, and what it means."""
_MOST_DIGITS = 18


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One call of the runtime but for its inputs; requests that ask for the same can be one batch.

    Attributes:
        member: one member, or None.
        members: several.
        summary: what the members say together, instead of what each says.
        until: the rule by which samples take members, or None.
        precision: of the service's.
    """

    member: int | None
    members: tuple[int, ...]
    summary: bool
    until: Until | None
    precision: str

    @property
    def label(self) -> str:
        """What metrics call it: the member's number, "several", "mean" or "until"."""
        if self.until is not None:
            return "until"
        if self.summary:
            return "mean"
        return "several" if self.member is None else str(self.member)


def asked(
    parameters: Mapping[str, Any],
    *,
    members: int,
    signature: Signature,
    precisions: Sequence[str],
    cond_id: Any = None,
    wanted: Sequence[str] = (),
    manifest: Manifest | None = None,
) -> Asked:
    """What a request asks for.

    Args:
        parameters: see `PARAMETERS`.
        members: how many there are.
        cond_id: the tensor of that name, an array of integers of one or more elements, or None.
        wanted: the outputs that are named; those of a summary ask for one.
        manifest: what may say when members are enough.

    Raises:
        RefusedError: they contradict each other or the ensemble.
    """
    try:
        if manifest is not None and parameters.get("until") == BUNDLE:
            parameters, own = _of_bundle(parameters, manifest, cond_id)
            return replace(_asked(parameters, members, signature, precisions, None, wanted), members=own)
        return _asked(parameters, members, signature, precisions, cond_id, wanted)
    except RuntimeInputError as error:
        raise RefusedError(400, str(error)) from error


def _of_bundle(
    parameters: Mapping[str, Any], manifest: Manifest, cond_id: Any
) -> tuple[Mapping[str, Any], tuple[int, ...]]:
    """The bundle's own rule as parameters, and the members in its order."""
    if parameters.get("least") is not None:
        raise RefusedError(400, f'least is the bundle\'s own with "until": "{BUNDLE}": leave it out')
    named = cond_id is not None or parameters.get("member") is not None
    rule, order = bundle_rule(manifest, () if named else parameters.get("members") or "all")
    return {**parameters, "members": None, "until": rule.confidence, "least": rule.least}, order


def _asked(
    parameters: Mapping[str, Any],
    count: int,
    signature: Signature,
    precisions: Sequence[str],
    cond_id: Any,
    wanted: Sequence[str],
) -> Asked:
    unknown = next((name for name in parameters if name not in PARAMETERS), None)
    if unknown is not None:
        raise RefusedError(400, f"there is no parameter {shown(unknown)}: there are {', '.join(PARAMETERS)}")
    precision = parameters.get("precision", precisions[0])
    if precision not in precisions:
        raise RefusedError(400, f"this service has the precision {', '.join(precisions)}, found {shown(precision)}")
    member, several = _named(parameters, count, cond_id)
    until = _until(parameters)
    if until is not None:
        check_anytime(signature)
    own = {output.name for output in signature.outputs}
    of_summary = {spec.name for spec in summary_specs(signature)} - own
    summary = until is not None or _flag(parameters, "mean") or any(name in of_summary for name in wanted)
    if summary:
        return Asked(
            member=None,
            members=several or ((member,) if member is not None else tuple(range(count))),
            summary=True,
            until=until,
            precision=precision,
        )
    if member is None and not several:
        if count > 1:
            raise RefusedError(
                400,
                f'which member? give the tensor {COND_ID}, or a parameter: "member" (0 to {count - 1}), "members" '
                '("all" or "0,2") or "mean": true',
            )
        member = 0
    return Asked(member=member, members=several, summary=False, until=None, precision=precision)


def _named(parameters: Mapping[str, Any], count: int, cond_id: Any) -> tuple[int | None, tuple[int, ...]]:
    """One member, or several: they are named in one way."""
    given = [name for name in ("member", "members") if parameters.get(name) is not None]
    if cond_id is not None:
        given.append(COND_ID)
    if len(given) > 1:
        raise RefusedError(400, f"members are named twice, by {' and '.join(given)}: give one of them")
    if not given:
        return None, ()
    if given == ["member"]:
        return check_member(parameters["member"], count), ()
    if given == ["members"]:
        return None, _checked(_list(parameters["members"]), count)
    flat = np.asarray(cond_id).reshape(-1)
    return (check_member(flat[0], count), ()) if flat.size == 1 else (None, _checked(flat.tolist(), count))


def _checked(members: Any, count: int) -> tuple[int, ...]:
    """Members that exist, each once: a request cannot ask for more work than all of them."""
    chosen = check_members(members, count)
    if len(set(chosen)) != len(chosen):
        raise RefusedError(400, f"a member is named twice among {shown(list(chosen))}")
    return chosen


def _list(members: Any) -> Any:
    if not isinstance(members, str) or members == "all":
        return members
    parts = [part.strip() for part in members.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= _MOST_DIGITS for part in parts):
        raise RefusedError(400, f'members must be "all" or numbers such as "2,3,7", found {shown(members)}')
    return [int(part) for part in parts]


def _until(parameters: Mapping[str, Any]) -> Until | None:
    given, least = parameters.get("until"), parameters.get("least")
    if given is None:
        if least is not None:
            raise RefusedError(400, "least is for until: give both")
        return None
    rule = as_until(given)
    return rule if least is None else Until(confidence=rule.confidence, answer=rule.answer, least=least)


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise RefusedError(400, f"{name} is true or false, found {shown(value)}")
    return value
