"""What commands show: import this module inside a command's body, as `render`.

- `render.say(text)`: a sentence on standard output. `render.tell(text)`: a message on standard error.
- `render.print_json(value)`: JSON on standard output, for `--json`; nothing else may be printed then.
- `render.show_table(render.Table(...), wide=wide)`: a table; `hnexport.cli.tables` says how columns are chosen.
- `render.live_progress(quiet=as_json)`: progress bars on standard error.
- `with render.accomplished("published: here"):` around what is shown after something was done: should showing it fail,
  standard error says that it was done.

No command calls `print`, `click.echo` or `rich` itself, and none needs to clean a text, to escape markup or to think of
encodings: all of it goes through `hnexport.cli.output`. A test reads the commands and makes sure of that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from hnexport.cli.output import emit_json as print_json
from hnexport.cli.output import say, tell
from hnexport.cli.progress import live_progress
from hnexport.cli.tables import Column, Styled, Table, show_table
from hnexport.text import megabytes

__all__ = [
    "Column",
    "Styled",
    "Table",
    "accomplished",
    "live_progress",
    "megabytes",
    "print_json",
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
