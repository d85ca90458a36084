"""The JSON Schemas lie on the site where their `$id` says, `reference/schemas/NAME.schema.json`."""

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def _publish(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "reference" / "schemas"
    for path in (Path(app.srcdir).parent / "hnexport" / "schemas").glob("*.schema.json"):
        shutil.copyfile(path, target / path.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("build-finished", _publish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
