"""What a bundle is, in numbers: weight counts, compression ratios, where tensors come from, and file sizes.

Everything is counted from the tables of slots and stored tensors, whatever the family.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hnexport.bundle.manifest import FORMAT_FILES, BasisJudgement, Manifest
from hnexport.families import Described, Told, assumed, family
from hnexport.spec import Source, StoredTensor
from hnexport.spec.usage import Normalisation
from hnexport.text import number_of

__all__ = [
    "Origin",
    "Storage",
    "StoredGroup",
    "Summary",
    "anytime_line",
    "judged_line",
    "reference_line",
    "summarise",
    "summarise_storage",
    "temperature_line",
    "usage_lines",
]


_NAMED_CLASSES = 5
_NAMED_MEMBERS = 32
_LOSSES = {
    "max_accuracy_drop": "an accuracy at most {:g} lower",
    "max_changed": "at most {:g} of the answers others",
    "max_ece_rise": "a calibration error at most {:g} higher",
}


class Origin(StrEnum):
    """Whose a stored tensor is, and what is made of it."""

    SHARED = "shared by all members"
    MEMBER = "each member's own"
    HYPERNET = "hypernetwork, shared by all members"
    EMBEDDING = "embeddings, each member's own"


@dataclass(frozen=True, kw_only=True)
class StoredGroup:
    """The stored tensors of one origin.

    Attributes:
        tensors: how many.
        elements: of all of them.
        size_bytes: of all of them.
        share: of the bytes of all stored tensors, 0 to 1.
        largest: up to three of them by name, the largest first.
    """

    tensors: int
    elements: int
    size_bytes: int
    share: float
    largest: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What is stored, and where the main network's tensors come from.

    Attributes:
        stored: by origin, without those that have none.
        slots: where each slot of the main network comes from, by name: a tied one from where its own tensor comes.
        ties: tied slots, each with the slot whose tensor it is.
    """

    stored: Mapping[str, StoredGroup]
    slots: Mapping[str, Source]
    ties: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Numbers about an ensemble and its bundle.

    Attributes:
        name: what the ensemble is called.
        counts: weight counts (integers) and compression ratios (floats), by label.
        sizes_bytes: of the bundle's formats, and of as many separate networks, by label.
        storage: None where only the counts are known.
    """

    name: str
    counts: Mapping[str, int | float]
    sizes_bytes: Mapping[str, int] = field(default_factory=dict)
    storage: Storage | None = None


def summarise(manifest: Manifest) -> Summary:
    """Counts and storage from the manifest's tables, sizes from its list of files."""
    sizes = {
        f"{file_format} ({' + '.join(names)})": sum(manifest.files[name].size_bytes for name in names)
        for file_format, names in FORMAT_FILES.items()
        if file_format in manifest.formats
    }
    one = sum(slot.size_bytes for slot in manifest.slots if slot.trained and slot.alias_of is None)
    sizes[f"{manifest.members} separate networks, weights alone"] = manifest.members * one
    return Summary(
        name=manifest.name,
        counts=family(manifest.source.family).counts(manifest),
        sizes_bytes=sizes,
        storage=summarise_storage(manifest),
    )


def reference_line(manifest: Manifest) -> str | None:
    """What was compared with the trained model's own outputs, in a line; None where nothing was."""
    found = manifest.as_trained
    if found is None:
        return None
    is_all = found.members == tuple(range(manifest.members))
    named = f"member{'s' * (len(found.members) != 1)} {', '.join(map(str, found.members))}"
    members = "all " * (manifest.members > 1) + number_of(manifest.members, "member") if is_all else named
    samples = number_of(found.samples, "sample")
    before = ["the bases were rounded"] if manifest.basis_rounding is not None else []
    if manifest.temperature is not None and manifest.temperature.output in found.outputs:
        before.append("logits were divided by the temperature")
    return (
        f"as trained, {found.file}: {members}, {samples}, {', '.join(found.outputs)}: relative L2 error "
        f"{found.relative_l2:.1e}, at most {found.tolerance:.0e}"
        f"{', before ' + ' and '.join(before) if before else ''}"
    )


def judged_line(found: BasisJudgement) -> str:
    """What rounding the bases changed in the answers to data."""
    line = f"{found.data}, {number_of(found.samples, 'sample')}: the mean of all members changed by "
    line += f"{found.relative_l2:.1e} (relative L2)"
    if found.agreement is not None:
        line += f", {found.agreement:.2%} of its answers are the same"
    if found.accuracy is not None and found.accuracy_before is not None:
        line += f", accuracy {found.accuracy:.4f}, before {found.accuracy_before:.4f}"
    return line


def temperature_line(manifest: Manifest) -> str | None:
    """What logits are divided by, and where that comes from; None where they are not."""
    found = manifest.temperature
    if found is None:
        return None
    return f"temperature {found.value:.6g} of {found.output}, fitted on {found.rows:,} rows, of {found.source}"


def anytime_line(manifest: Manifest) -> str | None:
    """When members that are asked one after the other are enough, and for which stated loss; None where nobody chose.

    It starts with a word and a colon.
    """
    found = manifest.anytime
    if found is None:
        return None
    order = ", ".join(map(str, found.order[:_NAMED_MEMBERS])) + ", …" * (len(found.order) > _NAMED_MEMBERS)
    least = f", at least {found.least}" * (found.least > 1)
    losses = " and ".join(_LOSSES[name].format(value) for name, value in found.stated.items())
    return (
        f"stopping: members in the order {order}{least}, until the mean probability of a class is "
        f"{found.confidence:g}: {found.members:.3f} of {manifest.members} a row; chosen on {found.rows:,} rows in "
        f"{found.precision.value}, for {losses} than with all of them ({found.level:.0%} sure), of {found.source}"
    )


def usage_lines(found: Told) -> tuple[str, ...]:
    """What is said of an ensemble beside its tensors, and what was assumed, a line each."""
    usage, lines = found.usage, []
    if usage.normalisation is not None:
        lines.append(f"pictures: {_normalised(usage.normalisation)}")
    for output, names in usage.class_names.items():
        more = ", …" * (len(names) > _NAMED_CLASSES)
        lines.append(f"{len(names)} classes of {output}: {', '.join(names[:_NAMED_CLASSES])}{more}")
    if usage.license is not None:
        lines.append(f"licence: {usage.license}")
    return (*lines, *(f"assumed: {line}" for line in assumed(found)))


def _normalised(said: Normalisation) -> str:
    if said == Normalisation():
        return "pixel / 255"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (said.mean, said.std))
    return f"(pixel / 255 - mean) / std, mean {mean}, std {std}"


def summarise_storage(ensemble: Described) -> Storage:
    """Which stored tensors all members share, which are each member's own, and what a hypernetwork generates."""
    groups: dict[Origin, list[StoredTensor]] = {origin: [] for origin in Origin}
    for stored in ensemble.stored:
        groups[_origin(stored)].append(stored)
    whole = sum(stored.size_bytes for stored in ensemble.stored)
    filled = {stored.slot: stored.is_conditional for stored in ensemble.stored if stored.slot is not None}
    return Storage(
        stored={str(origin): _group(found, whole) for origin, found in groups.items() if found},
        slots={slot.name: _source(filled.get(slot.alias_of or slot.name)) for slot in ensemble.slots},
        ties={slot.name: slot.alias_of for slot in ensemble.slots if slot.alias_of is not None},
    )


def _group(tensors: list[StoredTensor], whole: int) -> StoredGroup:
    size = sum(stored.size_bytes for stored in tensors)
    largest = sorted(tensors, key=lambda stored: -stored.size_bytes)[:3]
    return StoredGroup(
        tensors=len(tensors),
        elements=sum(stored.size for stored in tensors),
        size_bytes=size,
        share=size / whole if whole else 0.0,
        largest=tuple(stored.name for stored in largest),
    )


def _origin(stored: StoredTensor) -> Origin:
    if stored.hypernet is not None:
        return Origin.EMBEDDING if stored.is_conditional else Origin.HYPERNET
    return Origin.MEMBER if stored.is_conditional else Origin.SHARED


def _source(is_conditional: bool | None) -> Source:
    if is_conditional is None:
        return Source.GENERATED
    return Source.MEMBER if is_conditional else Source.SHARED
