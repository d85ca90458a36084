"""Tables and progress on the terminal."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:  # at run time these would load torch, which `predict` does without
    from hnexport.bundle.manifest import Manifest
    from hnexport.parity.results import ParityReport
    from hnexport.progress import Progress as ProgressCallback
    from hnexport.summary import Summary


__all__ = ["live_progress", "megabytes", "print_bases", "print_json", "print_parity", "print_summary", "print_table"]

STAGES = {
    "capture": "capture (torch.export)",
    "onnx": "write ONNX",
    "torchscript": "write TorchScript",
    "pt2": "write .pt2",
    "reference": "float64 reference",
    "rounding": "effect of rounding",
}


def print_json(value: Any) -> None:
    """Print a JSON value on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(table: Table) -> None:
    """Print a table on standard output; wide enough for its columns where that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    console.print(table)


def megabytes(size_bytes: float) -> str:
    """`150.6 MB`."""
    return f"{size_bytes / 1e6:,.1f} MB"


@contextmanager
def live_progress(*, quiet: bool) -> "Iterator[ProgressCallback]":
    """Progress bars on standard error, one for each stage."""
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(30),
        TextColumn("{task.fields[steps]:>7}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bars:
        tasks: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage == "verify":
                return
            steps = f"{done}/{total}" if total > 1 else ""
            if stage not in tasks:
                tasks[stage] = bars.add_task(STAGES.get(stage, stage), total=total, steps=steps)
            if total == 1 and bars.tasks[tasks[stage]].total != 1:
                return  # the end of a stage that counted its own steps
            bars.update(tasks[stage], completed=done, total=total, steps=steps)

        yield update


def print_summary(summary: "Summary") -> None:
    """Weight counts, in the order and words of the hypnettorch tutorial, and the files."""
    counts = Table(title=f"{summary.name}: weights", title_justify="left")
    counts.add_column("")
    counts.add_column("count", justify="right")
    for label, value in summary.counts.items():
        counts.add_row(label, f"{value:,}" if isinstance(value, int) else f"{value:.2f}")
    print_table(counts)


def print_files(manifest: "Manifest", summary: "Summary") -> None:
    """The bundle's files, and what separate networks would take."""
    table = Table(title="files", title_justify="left")
    table.add_column("file")
    table.add_column("size", justify="right")
    table.add_column("SHA-256")
    for name, record in manifest.files.items():
        table.add_row(name, megabytes(record.size_bytes), record.sha256[:16])
    print_table(table)
    for label, size_bytes in summary.sizes_bytes.items():
        click.echo(f"{label}: {megabytes(size_bytes)}")


def print_signature(manifest: "Manifest") -> None:
    """Inputs and outputs of the graph."""
    table = Table(title="signature", title_justify="left")
    for column in ("", "name", "dtype", "shape"):
        table.add_column(column)
    for role, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for tensor in tensors:
            table.add_row(role, tensor.name, tensor.dtype, escape(f"[{', '.join(map(str, tensor.shape))}]"))
    print_table(table)


def print_bases(manifest: "Manifest") -> None:
    """One line about bases in float16, and what rounding them changed; nothing where they are float32."""
    hypernet, rounding = manifest.spec.hypernet, manifest.basis_rounding
    if hypernet is None or hypernet.basis_dtype == "float32":
        return
    line = "bases in float16, weights generated in float32"
    if rounding is not None:
        members = ", ".join(map(str, rounding.members))
        line += (
            f": rounding changed a basis by {rounding.bases:.1e} and logits by {rounding.logits:.1e} (relative L2, "
            f"the largest over all bases, and over members {members} and every golden image)"
        )
    click.echo(line)


def print_parity(report: "ParityReport") -> None:
    """The parity table: a row for each artifact, and a line for each failure."""
    sampled = f" (a seeded sample of {report.members})" if report.sampled else ""
    title = (
        f"parity with PyTorch float64: {len(report.members_checked)} members{sampled}, "
        f"batches of {', '.join(map(str, report.batch_sizes))}, {len(report.image_kinds)} kinds of image"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("artifact")
    table.add_column("runtime")
    table.add_column("worst member", justify="right")
    table.add_column("rel. L2", justify="right")
    table.add_column("x eager", justify="right")
    table.add_column("worst |Δ|", justify="right")
    table.add_column("top-1", justify="right")
    table.add_column("margin", justify="right")
    table.add_column("ensemble", justify="right")
    table.add_column("repeat", justify="right")
    table.add_column("verdict")
    for artifact in report.artifacts:
        worst = artifact.worst
        multiple = max(item.multiple_of_eager for item in artifact.comparisons)
        agreement = min(item.top1_agreement for item in artifact.comparisons)
        table.add_row(
            artifact.artifact,
            artifact.runtime,
            str(worst.member),
            f"{worst.relative_l2:.1e}",
            f"{multiple:.2f}",
            f"{worst.worst_absolute:.1e}",
            f"{agreement:.0%}",
            f"{min(item.margin for item in artifact.comparisons):.0e}",
            f"{artifact.ensemble_error:.1e}",
            f"{artifact.repeat_spread:.0e}",
            "[green]same[/]" if artifact.passed else "[bold red]DIFFERENT[/]",
        )
    print_table(table)
    for name, reason in report.not_run.items():
        click.echo(f"not run: {name}: {reason}")
    for name, reason in report.refused.items():
        click.echo(f"refused: {name}: {reason}")
    for artifact in report.artifacts:
        for name, reason in artifact.not_checked.items():
            click.echo(f"not checked: {artifact.artifact}: {name}: {reason}")
    for artifact in report.artifacts:
        for line in artifact.failures:
            click.echo(f"FAILED {artifact.artifact}: {line}")


def print_member_parity(report: "ParityReport") -> None:
    """The relative L2 error of every member in every artifact."""
    table = Table(title="relative L2 error by member", title_justify="left")
    table.add_column("member", justify="right")
    table.add_column("float32 eager", justify="right")
    for artifact in report.artifacts:
        table.add_column(artifact.artifact, justify="right")
    columns: list[Mapping[int, float]] = [
        {item.member: item.relative_l2 for item in artifact.comparisons} for artifact in report.artifacts
    ]
    for member, eager in zip(report.members_checked, report.eager, strict=True):
        table.add_row(str(member), f"{eager:.1e}", *(f"{column[member]:.1e}" for column in columns))
    print_table(table)
