"""What a bundle is, as tables: signature, weights, where tensors come from, files, parity."""

from collections import Counter
from typing import TYPE_CHECKING

from hnexport.cli.render import Column, Table, megabytes, say, show_table
from hnexport.spec import BasisDtype, OutputKind, OutputSpec, Source, TensorSpec
from hnexport.spec.bases import basis_dtype
from hnexport.text import number_of

if TYPE_CHECKING:  # at run time these would load torch, which `predict` does without
    from collections.abc import Iterable

    from hnexport.bundle.manifest import BasisRounding, Manifest
    from hnexport.bundle.summary import Storage, Summary
    from hnexport.spec import StoredTensor

__all__ = [
    "print_bases",
    "print_files",
    "print_parity_summary",
    "print_reference",
    "print_rounding",
    "print_signature",
    "print_storage",
    "print_summary",
]

_NAMED = 30
"""So many generated tensors are named; `--json` has all."""
_WORDS = {Source.SHARED: "shared by all members", Source.MEMBER: "each member's own", Source.GENERATED: "generated"}


def print_summary(summary: "Summary") -> None:
    """Weight counts, in the order and words of their family."""
    rows = [
        (label, f"{value:,}" if isinstance(value, int) else f"{value:.2f}") for label, value in summary.counts.items()
    ]
    columns = (Column("", wrap=True, least=24), Column("count", right=True))
    show_table(Table(title=f"{summary.name}: weights", columns=columns, rows=rows))


def print_files(manifest: "Manifest", summary: "Summary", *, wide: bool = False) -> None:
    """The bundle's files, and what separate networks would take."""
    rows = [(name, megabytes(record.size_bytes), record.sha256[:16]) for name, record in manifest.files.items()]
    columns = (Column("file", wrap=True, least=20), Column("size", right=True), Column("SHA-256", rank=1))
    show_table(Table(title="files", columns=columns, rows=rows), wide=wide)
    for label, size_bytes in summary.sizes_bytes.items():
        say(f"{label}: {megabytes(size_bytes)}")


def print_signature(manifest: "Manifest") -> None:
    """Inputs and outputs of the graph; what the outputs mean only where they are not one of logits."""
    outputs = manifest.outputs
    with_kinds = len(outputs) > 1 or outputs[0].kind is not OutputKind.LOGITS
    conditions = manifest.conditions
    rows = [
        (
            "condition" if tensor.name in conditions else role,
            tensor.name,
            tensor.dtype,
            f"[{', '.join(map(str, tensor.shape))}]",
            *([_kind(tensor)] * with_kinds),
        )
        for role, tensors in (("input", manifest.inputs), ("output", outputs))
        for tensor in tensors
    ]
    columns = (
        Column(""),
        Column("name", wrap=True),
        Column("dtype"),
        Column("shape", wrap=True),
        *((Column("kind", wrap=True),) * with_kinds),
    )
    show_table(Table(title="signature", columns=columns, rows=rows))


def _kind(tensor: TensorSpec) -> str:
    if not isinstance(tensor, OutputSpec):
        return ""
    return str(tensor.kind) if tensor.axis is None else f"{tensor.kind}, classes on axis {tensor.axis}"


def print_storage(storage: "Storage") -> None:
    """What all members share, what is each member's own, what is generated, and which tensors are tied."""
    rows = [
        (
            origin,
            f"{group.tensors:,}",
            f"{group.elements:,}",
            f"{group.size_bytes:,}",
            f"{group.share:.1%}",
            ", ".join(group.largest),
        )
        for origin, group in storage.stored.items()
    ]
    columns = (
        Column("stored", wrap=True, least=20),
        Column("tensors", right=True),
        Column("elements", right=True),
        Column("bytes", right=True),
        Column("share", right=True),
        Column("the largest", wrap=True, rank=1),
    )
    show_table(Table(title="stored tensors", columns=columns, rows=rows))
    sources = Counter(source for name, source in storage.slots.items() if name not in storage.ties)
    found = ", ".join(f"{sources[source]} {words}" for source, words in _WORDS.items() if sources[source])
    network = "main network" if Source.GENERATED in storage.slots.values() else "network"
    say(f"{network}: {number_of(len(storage.slots) - len(storage.ties), 'tensor')}, {found}")
    generated = [name for name, source in storage.slots.items() if source is Source.GENERATED]
    generated = [name for name in generated if name not in storage.ties]
    if generated:
        more = len(generated) - _NAMED
        say(f"generated: {', '.join(generated[:_NAMED])}" + f", and {more} more: --json has them" * (more > 0))
    for name, own in storage.ties.items():
        say(f"tied: {name} is {own}")


def print_parity_summary(manifest: "Manifest") -> None:
    """What the build found, in a line for each artifact."""
    for name, parity in manifest.parity.items():
        members = f"{number_of(parity.members_checked, 'member')}"
        say(
            f"parity, {name}: {members}, relative L2 error {parity.relative_l2:.1e}, "
            f"{parity.multiple_of_eager:.2f} times eager's"
        )


def print_reference(manifest: "Manifest") -> None:
    """One line about the trained model's own outputs; nothing where the build had none."""
    from hnexport.bundle.summary import reference_line

    line = reference_line(manifest)
    if line is not None:
        say(line)


def print_bases(manifest: "Manifest") -> None:
    """One line about bases in fewer bits, and what rounding them changed; nothing where they are float32."""
    print_rounding(manifest.stored, manifest.outputs, manifest.basis_rounding)


def print_rounding(
    stored: "Iterable[StoredTensor]", outputs: "Iterable[OutputSpec]", rounding: "BasisRounding | None"
) -> None:
    """The same, of the tables and what was measured."""
    dtype = basis_dtype(stored)
    if dtype in (None, BasisDtype.FLOAT32):
        return
    line = f"bases in {dtype}, weights generated in float32"
    if rounding is not None:
        members = ", ".join(map(str, rounding.members))
        what = "logits" if any(item.kind is OutputKind.LOGITS for item in outputs) else "outputs"
        line += (
            f": rounding changed a basis by {rounding.bases:.1e} and {what} by {rounding.logits:.1e} (relative L2, "
            f"the largest over all bases, and over members {members} and every golden image)"
        )
        if rounding.agreement is not None:
            line += f"; {rounding.agreement:.1%} of their rows have the same largest class"
    say(line)
    judged = None if rounding is None else rounding.judged
    if judged is not None:
        from hnexport.bundle.summary import judged_line

        say(f"on {judged_line(judged)}")
