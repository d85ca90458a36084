"""Docstrings for Sphinx: ours are written as Markdown is, and everything that is shown must have one.

`code` becomes a link where it is a name that the site documents, indented blocks become code, and `docs/howto/x.md` a
link to that page. Without a docstring a module, class, function, method or property is a warning, so `make docs` fails.
"""

import ast
import enum
import inspect
import re
from typing import Any

from docstring_code import marked
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

logger = logging.getLogger(__name__)

_SPAN = re.compile(r"(\w?)(?<!`)`([^`]+)`(?!`)(?=(\w?))")
_PAGE = re.compile(r"\bdocs/([\w/-]+)\.md\b")
_LINK = re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)")
_NAME = re.compile(r"[A-Za-z_][\w.]*(\(\))?")
_SPECIAL = re.compile(r"[*|]|(?<=\w)_(?!\w)")  # what is markup in reStructuredText, and not in our docstrings
_ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?(?:typing\.)?Any, \.\.\.\], ~?numpy\.dtype\[([^\]]+)\]\]")
_COLON = "\N{FULLWIDTH COLON}"
_VALUES = ("attribute", "data", "property")
_DOCUMENTED = ("module", "data", "class", "exception", "function", "method", "property")


def as_rst(lines: list[str]) -> list[str]:
    """A docstring in reStructuredText, sections such as `Args:` left for napoleon."""
    made: list[str] = []
    text: list[str] = []  # spans may go over the end of a line, so paragraphs are turned whole
    for is_code, line in marked(lines):
        if is_code:
            made += [*_prose(text), line]
            text = []
        else:
            text.append(line)
    return made + _prose(text)


def _prose(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    parts: list[str] = []
    end = 0
    for span in _SPAN.finditer(text):
        parts += [_plain(text[end : span.start()]), span[1], "\\ " if span[1] else ""]
        content = span[2]
        role = ":named:`{}`" if _NAME.fullmatch(content) else "``{}``"
        parts += [role.format(content), "\\ " if span[3] else ""]
        end = span.end()
    parts.append(_plain(text[end:]))
    return "".join(parts).split("\n") if lines else []


def _plain(text: str) -> str:
    text = _SPECIAL.sub(lambda found: "\\" + found[0], text)
    text = _LINK.sub(r"`\1 <\2>`__", text)
    return _PAGE.sub(r":doc:`/\1`", text)


class _Named(PyXRefRole):
    """A name in a docstring: a link if the site documents it, code if not."""

    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        title, target = super().process_link(env, refnode, has_explicit_title, title, target)
        refnode["reftype"] = "obj"
        refnode["optional"] = True
        return title, target.removesuffix("()")


def _resolve(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.Element) -> Any:
    """A name of another module, where only one class or function has it; otherwise the name as code."""
    if not node.get("optional"):
        return None
    domain = env.domains.python_domain
    ends = [
        name
        for name, found in domain.objects.items()
        if found.objtype in ("class", "exception", "function")
        and not found.aliased
        and (name == node["reftarget"] or name.endswith("." + node["reftarget"]))
    ]
    if len(ends) != 1:
        return shown
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", ends[0], node, shown) or shown


def _process(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    if what == "data":
        lines[:] = _said_of(*name.rpartition(".")[::2])
    if what in _DOCUMENTED and (not any(lines) or _is_generated(found)):
        logger.warning("%s %s has no docstring", what, name, type="docstrings")
    lines[:] = as_rst(lines)
    if what in _VALUES:  # napoleon takes what stands before a colon in the first line for a type
        lines[:1] = [line.replace(":", _COLON) for line in lines[:1]]


def _said_of(module: str, name: str) -> list[str]:
    """The string after a constant, in the module that defines it: what it was imported from is followed."""
    analyzer = ModuleAnalyzer.for_module(module)
    said = analyzer.find_attr_docs().get(("", name))
    if said is not None:
        return list(said)
    for node in ast.walk(ast.parse(analyzer.code)):
        if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
            return _said_of(node.module, name)
    return []


def _process_again(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _shorten(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A signature that is Python, and as it is written in the code: `NDArray[…]`, `...` for what a factory makes."""

    def short(text: str | None) -> str | None:
        return None if text is None else _ARRAY.sub(r"~numpy.typing.NDArray[\1]", text).replace("<factory>", "...")

    return short(signature), short(returned)


def _is_generated(found: Any) -> bool:
    """Whether it is what `dataclass` gives a class without a docstring: its signature."""
    return inspect.isclass(found) and (found.__doc__ or "").startswith(f"{found.__name__}(")


def _skip(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Of what has no docstring, leave out fields (the signature has them), not the values of an enumeration."""
    is_code = inspect.isroutine(found) or inspect.isclass(found) or isinstance(found, property)
    if skip or is_code or isinstance(found, enum.Enum) or what != "class":
        return None
    return not getattr(found, "__doc__", None) or found.__doc__ == type(found).__doc__


def _dashes(app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx writes two hyphens between a parameter and what is said of it."""
    for text in list(doctree.findall(nodes.Text)):
        if text.startswith(" -- ") and isinstance(text.parent, nodes.paragraph):
            text.parent.replace(text, nodes.Text(" \N{EN DASH} " + text[4:]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_role("named", _Named())
    app.connect("autodoc-process-docstring", _process, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _process_again, priority=600)
    app.connect("autodoc-process-signature", _shorten)
    app.connect("autodoc-skip-member", _skip)
    app.connect("doctree-read", _dashes)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
