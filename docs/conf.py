"""How Sphinx builds the documentation: `make docs`. What the pages say is in the Markdown files beside this one."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

# What the distribution says of itself is said once, in pyproject.toml.
_PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_URLS = _PROJECT["urls"]

project = _PROJECT["name"]
author = copyright = "the hnexport authors"  # noqa: A001  # Sphinx's name for it
release = version = __import__("hnexport").__version__

extensions = [
    "myst_parser",  # pages are Markdown, so that they can be read on GitHub too
    "sphinx.ext.autodoc",  # the Python API, from docstrings
    "sphinx.ext.napoleon",  # `Args:`, `Raises:` and their like
    "sphinx_click",  # the commands, from click
    "sphinx_copybutton",
    "sphinx_design",  # cards and tabs
    "docstrings",  # docs/extensions: ours are Markdown; one that is missing fails the build
    "commands",  # options as `--help` shows them
    "outside",  # links to files of the repository that are no pages
]
exclude_patterns = ["extensions"]

# Everything that does not lead anywhere is a warning, and `make docs` makes warnings errors.
nitpicky = True
# Types of other projects. Links to them would need their inventories, which lie elsewhere: the build needs no network.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(torch|np|numpy|collections|os|pathlib|typing|enum|types|ray|onnx|onnxruntime|starlette|click)(\..*)?",
    ),
    (r"py:.*", r"(bool|bytes|dict|float|int|list|object|str|tuple|type|frozenset|set|None|[A-Z]\w*(Error|Warning))"),
    # Our own that nobody makes or reads outside the library: they stand in a signature beside what people use.
    (r"py:class", r"hnexport\.(runtime\.ensemble\.Engine|runtime\.until\.Tally|score\.assemble\.Faults)"),
    (r"py:class", r"hnexport\.(serve\.service\.Service|export\.capture\.Half|bundle\.checksums\.WrittenFiles)"),
    (r"py:.*", r"(Any|Literal|TypeVar|[\"'].*)"),
]

myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 4  # `page.md#a-heading`, by GitHub's rule
smartquotes = False  # `--option` stays what is typed

autodoc_default_options = {"undoc-members": True}  # docs/extensions/docstrings.py says what is left out
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
toc_object_entries_show_parents = "hide"

html_theme = "furo"
pygments_dark_style = "github-dark"  # furo's own underlines names of modules, which then look like links
html_title = f"{project} {release}"
html_baseurl = _URLS["Documentation"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": _URLS["Repository"],
    "source_branch": "main",
    "source_directory": "docs/",
}
outside_address = _URLS["Repository"] + "/blob/main/"
outside_published = {"hnexport/schemas": "reference/schemas"}  # where their `$id` says that they are
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
linkcheck_timeout = 30
linkcheck_ignore = [_URLS["Documentation"] + ".*", _URLS["Repository"] + ".*"]  # this very site; files of this checkout
