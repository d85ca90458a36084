"""What `make docs` checks beside Sphinx: links of every Markdown file, and the built pages themselves.

    python tools/check_docs.py build/docs

Markdown is read as GitHub shows it, so links between pages work there too. The built pages must load nothing from other
hosts, and none of their links may lead nowhere. Nor may an address of the site or of the repository's files in any
other file: a message, a template. Prints a line for each fault; exit code 1 if there is one.
"""

import fnmatch
import functools
import itertools
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from own_addresses import address_faults

ROOT = PROJECT = Path(__file__).parent.parent
SKIPPED = {"node_modules", "build", "dist", "bundles"}
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),  # of SVG, as use is
    "use": ("href", "xlink:href"),
    "link": ("href",),
}
LOADED_RELATIONS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest", "preconnect"}
_TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.DOTALL | re.MULTILINE)
_OPTION = re.compile(r":[\w-]+:")
_NAMED = re.compile(r".*<(.+)>")
_COMMAND = re.compile(r"^   :prog: (.+)$", re.MULTILINE)  # sphinx-click makes a heading of it
_FILES = re.compile(r"/(?:blob|raw|tree)/main/(.+)")  # of the repository, by their address
_CANDIDATE = re.compile(r"([^\s,]\S*[^\s,])(?:\s[^,]*)?")  # an address of `srcset`, before its width or density
_ELSEWHERE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])\s*((?:https?:)?//[^'\")]+)")


def markdown_files(root: Path = ROOT) -> list[Path]:
    """Every Markdown file that is the project's, hidden folders and those of packages left out."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name for name in folders if name not in SKIPPED and (not name.startswith(".") or name == ".github")
        ]
        found += [Path(folder) / name for name in files if name.endswith(".md")]
    return sorted(found)


def titles(page: Path) -> list[str]:
    """The headings of the first level."""
    return [text for level, text in _headings(page.read_text(encoding="utf-8")) if level == 1]


def anchors(page: Path) -> set[str]:
    """What `page.md#…` may name, by GitHub's rule."""
    text = page.read_text(encoding="utf-8")
    found: set[str] = set()
    for heading in [heading for _, heading in _headings(text)] + _COMMAND.findall(text):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        unique = slug
        while unique in found:
            number += 1
            unique = f"{slug}-{number}"
        found.add(unique)
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of links and pictures that are not on other hosts, those of HTML in the page too."""
    yield from (target for target in _targets(page) if not urlsplit(target).scheme)


def _targets(page: Path) -> Iterator[str]:
    for token in _tokens(MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))):
        target = token.attrGet("href") or token.attrGet("src")
        if isinstance(target, str):
            yield target
        elif token.type in ("html_block", "html_inline"):
            held = _Page()
            held.feed(token.content)
            yield from held.links + held.loaded


def _literal(page: Path) -> Iterator[str]:
    """The lines with `][` in them, outside code."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type == "inline":
            text = "".join(
                "\n" if part.type == "softbreak" else part.content
                for part in token.children or ()
                if part.type != "code_inline"
            )
            yield from (line for line in text.split("\n") if "][" in line)


def _own(link: str) -> Path | None:
    """The file of this checkout that is meant by an address of the repository or of the site."""
    address, urls = urlsplit(link)._replace(query="", fragment="").geturl(), _urls()
    if address.startswith(urls["Documentation"]):
        page = address.removeprefix(urls["Documentation"]) or "index.html"
        if page.startswith("reference/schemas/") and page.endswith(".json"):
            return ROOT / "hnexport/schemas" / Path(page).name
        return ROOT / "docs" / Path(page).with_suffix(".md")
    found = (
        _FILES.fullmatch(address.removeprefix(urls["Repository"])) if address.startswith(urls["Repository"]) else None
    )
    return ROOT / unquote(found[1]) if found else None


@functools.cache
def _urls() -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    return found


def markdown_faults(pages: list[Path]) -> list[str]:
    """Links to files and headings that do not exist, and links that stayed text: `[a][b]`, where no `[b]: …` is."""
    faults = []
    for page in pages:
        faults += [f"{page.relative_to(ROOT)}: {line.strip()} is no link" for line in _literal(page)]
        for link in _targets(page):
            own = _own(link)
            if own is not None and not own.exists():
                faults.append(f"{page.relative_to(ROOT)}: {link} does not exist")
        for link in links(page):
            path, _, anchor = unquote(link).partition("#")
            target = Path(os.path.normpath(page.parent / path)) if path else page
            if not target.exists():
                faults.append(f"{page.relative_to(ROOT)}: {link} does not exist")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                faults.append(f"{page.relative_to(ROOT)}: {link} has no such heading")
    return faults


def contents(page: Path) -> list[Path]:
    """The pages that a page's tables of contents name; one that two of them name, twice, as the sidebar shows it."""
    every: list[Path] = []
    for block in _TOCTREE.findall(page.read_text(encoding="utf-8")):
        found: list[Path] = []
        for line in block.split("\n"):
            entry = line.strip()
            if not entry or _OPTION.match(entry):
                continue
            if "*" in entry:
                others = sorted(page.parent.glob("*.md"))
                found += [one for one in others if fnmatch.fnmatch(one.stem, entry) and one not in (page, *found)]
            else:
                target = _NAMED.sub(r"\1", entry)  # `a title <target>`
                found.append(Path(os.path.normpath(page.parent / f"{target}.md")))
        every += found
    return every


def site_faults(site: Path) -> list[str]:
    """Links of built pages that lead nowhere, and what they would load from other hosts."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site)
        faults += [f"{name} loads {address}" for address in page.loaded if urlsplit(address).netloc]
        for link in page.links + [address for address in page.loaded if not urlsplit(address).netloc]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if not target.exists():
                faults.append(f"{name}: {link} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                faults.append(f"{name}: {link} has no such anchor")
    for style in sorted(site.rglob("*.css")):
        text = style.read_text(encoding="utf-8")
        faults += [f"{style.relative_to(site)} loads {address}" for address in _ELSEWHERE.findall(text)]
    return faults


class _Page(HTMLParser):
    """What a page links to, what it loads by itself, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = {"", "top"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value for name, value in attrs if value is not None}
        self.ids.update(held[name] for name in ("id", "name") if name in held)
        self.loaded += _ELSEWHERE.findall(held.get("style", ""))
        if tag == "a" and "href" in held:
            self.links.append(held["href"])
        elif tag != "link" or LOADED_RELATIONS & set(held.get("rel", "").split()):
            for name in LOADING.get(tag, ()):
                if name in held:
                    self.loaded += _CANDIDATE.findall(held[name]) if name == "srcset" else [held[name]]

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.loaded += _ELSEWHERE.findall(data)


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _headings(text: str) -> list[tuple[int, str]]:
    tokens = MarkdownIt().parse(text)
    return [
        (int(token.tag[1:]), "".join(part.content for part in after.children or ()))
        for token, after in itertools.pairwise(tokens)
        if token.type == "heading_open"
    ]


def _tokens(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _tokens(token.children or [])


def main() -> None:
    """Check the Markdown of this checkout and the site that was built of it."""
    site = Path(sys.argv[1]).resolve()
    faults = markdown_faults(markdown_files()) + site_faults(site)
    faults += address_faults(ROOT, site, _urls(), lambda page: _read(page).ids, anchors)
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
