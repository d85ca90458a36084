"""Links from a page to files of the repository that are no pages: on the site they lead to the repository's own host.

The JSON files of folders that `outside_published` names are on the site itself.

In the sources they are relative links, `../../examples/modules.py`, so that they work where the Markdown is read.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class _Outside(SphinxTransform):
    default_priority = 1  # before Sphinx takes the files for downloads

    def apply(self, **kwargs: Any) -> None:
        source = Path(self.env.srcdir)
        here = Path(self.env.doc2path(self.env.docname)).parent
        for node in list(self.document.findall(addnodes.download_reference)) + [
            node for node in self.document.findall(addnodes.pending_xref) if node.get("reftype") == "myst"
        ]:
            path, _, anchor = node["reftarget"].partition("#")
            if node["refdomain"] == "doc":  # a page, for MyST
                path, anchor = f"{path}.md", node["reftargetid"]
            target = Path(os.path.normpath(here / path))
            if not path or not target.exists() or target.is_relative_to(source):
                continue
            address = self._address(target.relative_to(source.parent))
            link = nodes.reference("", "", internal=False, refuri=address + (f"#{anchor}" if anchor else ""))
            link += list(node.children[0].children) if node.children else nodes.Text(path)
            node.replace_self(link)

    def _address(self, path: Path) -> str:
        published = self.config.outside_published.get(path.parent.as_posix())
        if published is None:
            return str(self.config.outside_address + path.as_posix())
        return os.path.relpath(f"{published}/{path.name}", os.path.dirname(self.env.docname)).replace(os.sep, "/")


def _publish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for folder, place in app.config.outside_published.items():
            for file in sorted((Path(app.srcdir).parent / folder).glob("*.json")):
                shutil.copy(file, Path(app.outdir) / place / file.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("outside_address", "", "env", str)
    app.add_config_value("outside_published", {}, "env", dict)
    app.add_transform(_Outside)
    app.connect("build-finished", _publish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
