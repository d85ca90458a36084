"""Names that stand in one graph: inputs, outputs and slots must not meet."""

from collections.abc import Iterable

from hnexport.errors import SpecError
from hnexport.names import COND_ID, COND_IDS, RESERVED
from hnexport.reading import is_plain_name, shown
from hnexport.spec import Signature, Slot, StoredTensor
from hnexport.spec.summaries import summaries

__all__ = ["check_name", "check_names", "default_name"]

_REMEDIES = {
    "input": "rename the parameter of forward",
    "output": "call it otherwise with outputs=(…) in the order of the outputs",
    "slot": "rename the attribute of the module",
    "stored tensor": "rename the submodule `shared` or `member`",
}


def check_names(signature: Signature, slots: Iterable[Slot], stored: Iterable[StoredTensor]) -> None:
    """Refuse names that are reserved, cannot be written, or clash.

    Raises:
        SpecError: with the name, and what to rename.
    """
    inputs, outputs = [item.name for item in signature.inputs], [item.name for item in signature.outputs]
    owners: dict[str, str] = {COND_ID: "condition id", COND_IDS: "condition ids"}
    for kind, names in (
        ("slot", [slot.name for slot in slots]),
        ("stored tensor", [item.name for item in stored]),
        ("input", inputs),
        ("output", outputs),
    ):
        for name in names:
            remedy = _REMEDIES[kind]
            if name in owners:
                taken = "is reserved" if name in RESERVED else f"is the name of a {owners[name]} too"
                raise SpecError(f"the {kind} {name!r} {taken}: {remedy}")
            if "/" in name or (kind in ("input", "output") and not is_plain_name(name)):
                raise SpecError(f"the {kind} {shown(name)} cannot have this name in every format: {remedy}")
            owners[name] = kind
    met = {COND_IDS, *inputs}
    for summary in summaries(signature):
        if summary.name in met:
            raise SpecError(
                f"what an ensemble says of the output {summary.of!r} is called {summary.name!r}, which something else "
                f"is called too: {_REMEDIES['output']}"
            )
        met.add(summary.name)


def check_name(name: str) -> str:
    """A name for an ensemble: that of a folder.

    Raises:
        SpecError: it cannot be.
    """
    if not isinstance(name, str) or not is_plain_name(name):
        raise SpecError(f"name: {shown(name)} cannot be the name of a folder on every system")
    return name


def default_name(kind: str, members: int) -> str:
    """`cnn-4` for four of a class `Cnn`."""
    return f"{kind.lower()}-{members}"
