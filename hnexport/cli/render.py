"""What commands show: import this module inside a command's body, as `render`.

- `render.say(text)`: a sentence on standard output. `render.tell(text)`: a message on standard error.
- `render.print_json(value)`: JSON on standard output, for `--json`; nothing else may be printed then.
- `render.show_table(render.Table(...), wide=wide)`: a table; `hnexport.cli.tables` says how columns are chosen.
- `render.live_progress(quiet=as_json)`: progress bars on standard error.
- `with render.accomplished("published: here"):` around what is shown after something was done: should showing it fail,
  standard error says that it was done.
- `print_summary`, `print_files`, `print_signature`, `print_bases`: parts of a bundle that several commands show.

No command calls `print`, `click.echo` or `rich` itself, and none needs to clean a text, to escape markup or to think of
encodings: all of it goes through `hnexport.cli.output`. A test reads the commands and makes sure of that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hnexport.cli.output import emit_json as print_json
from hnexport.cli.output import say, tell
from hnexport.cli.progress import live_progress
from hnexport.cli.tables import Column, Styled, Table, show_table

if TYPE_CHECKING:  # at run time these would load torch, which `predict` does without
    from hnexport.bundle.manifest import Manifest
    from hnexport.summary import Summary

__all__ = [
    "Column",
    "Styled",
    "Table",
    "accomplished",
    "live_progress",
    "megabytes",
    "print_bases",
    "print_files",
    "print_json",
    "print_signature",
    "print_summary",
    "say",
    "show_table",
    "tell",
]


@contextmanager
def accomplished(what: str) -> Iterator[None]:
    """Say on standard error what was done, if the body, which shows it, does not come to its end."""
    try:
        yield
    except BaseException:
        tell(what)
        raise


def megabytes(size_bytes: float) -> str:
    """`150.6 MB`."""
    return f"{size_bytes / 1e6:,.1f} MB"


def print_summary(summary: "Summary") -> None:
    """Weight counts, in the order and words of the hypnettorch tutorial."""
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
    """Inputs and outputs of the graph."""
    rows = [
        (role, tensor.name, tensor.dtype, f"[{', '.join(map(str, tensor.shape))}]")
        for role, tensors in (("input", manifest.inputs), ("output", manifest.outputs))
        for tensor in tensors
    ]
    columns = (Column(""), Column("name", wrap=True), Column("dtype"), Column("shape", wrap=True))
    show_table(Table(title="signature", columns=columns, rows=rows))


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
    say(line)
