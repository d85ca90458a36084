"""The documentation's pages, without Sphinx: `make docs` builds them, and checks what is built."""

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hnexport.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
API = sorted((DOCS / "reference/api").glob("hnexport*.md"))
MODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)
SHOWN = re.compile(r"^\.\. auto(?!module)\w+:: (\w+)$", re.MULTILINE)  # what is of another module has its dotted name


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module("check_docs")
    sys.modules.pop("check_docs")
    sys.modules.pop("own_addresses", None)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_every_link_and_anchor_of_every_markdown_file_leads_somewhere(checks: ModuleType) -> None:
    files = checks.markdown_files()
    assert ROOT / "README.md" in files
    assert DOCS / "index.md" in files
    assert not checks.markdown_faults(files)


def test_a_link_that_leads_nowhere_is_found(
    checks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A `page` of 2\n\n[a](gone.md) [b](#a-page-of-2) [c](page.md#gone) ![d](gone.png) `[e](code.md)`\n\n"
        '<img src="gone.svg"> <a href="#a-page-of-2">f</a>\n\n'
        "[g](https://github.com/hnexport/hnexport/blob/main/page.md#x) <https://github.com/hnexport/hnexport/issues>\n"
        "[h](https://github.com/hnexport/hnexport/blob/main/gone.py) <https://hnexport.github.io/hnexport/gone.html#x>\n\n"
        "[i][nowhere] `[j][code]` [k][here]\n\n    [l][code]\n\n[here]: page.md\n"
    )
    assert checks.markdown_faults([page]) == [
        "page.md: [i][nowhere]  k is no link",
        "page.md: https://github.com/hnexport/hnexport/blob/main/gone.py does not exist",
        "page.md: https://hnexport.github.io/hnexport/gone.html#x does not exist",
        "page.md: gone.md does not exist",
        "page.md: page.md#gone has no such heading",
        "page.md: gone.png does not exist",
        "page.md: gone.svg does not exist",
    ]


def test_a_page_that_loads_something_from_another_host_is_found(checks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("@font-face { src: url(//fonts.example/a.woff) }")
    (tmp_path / "page.html").write_text(
        '<link rel="canonical" href="https://a.example/"><link rel="stylesheet" href="style.css">'
        '<script src="https://b.example/x.js"></script><a href="https://c.example/">c</a><p id="here"></p>'
        '<a href="#here"></a><a href="page.html#gone"></a><a href="gone.html"></a>'
    )
    assert checks.site_faults(tmp_path) == [
        "page.html loads https://b.example/x.js",
        "page.html: page.html#gone has no such anchor",
        "page.html: gone.html does not exist",
        "style.css loads //fonts.example/a.woff",
    ]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="//x.example/a"></script>',
        '<img src="here.html" srcset="here.html 1x, //x.example/a 2x">',
        '<picture><source srcset="//x.example/a"></picture>',
        '<video src="here.html" poster="//x.example/a"></video>',
        '<audio src="//x.example/a"></audio>',
        '<video><track src="//x.example/a"></video>',
        '<iframe src="//x.example/a"></iframe>',
        '<object data="//x.example/a"></object>',
        '<embed src="//x.example/a">',
        '<svg><image href="//x.example/a"/></svg>',
        '<svg><use xlink:href="//x.example/a"/></svg>',
        '<link rel="icon" href="//x.example/a">',
        '<p style="background: url(//x.example/a)"></p>',
        "<style>@import '//x.example/a'</style>",
    ],
)
def test_whatever_loads_from_another_host_is_found(checks: ModuleType, tmp_path: Path, html: str) -> None:
    (tmp_path / "here.html").write_text(html)
    assert checks.site_faults(tmp_path) == ["here.html loads //x.example/a"]


def test_an_address_of_ours_that_leads_nowhere_is_found(checks: ModuleType, tmp_path: Path) -> None:
    """In any file: the page, its anchor, the file of the repository, its heading; and whatever comes after is none."""
    root, site = tmp_path / "root", tmp_path / "site"
    (site / "howto").mkdir(parents=True)
    (site / "index.html").write_text("<p id='top'></p>")
    (site / "howto" / "from.html").write_text("<h2 id='a-heading'></h2>")
    (root / "tests").mkdir(parents=True)
    own, files = "https://own.example/docs/", "https://git.example/own"
    (root / "READ.md").write_text(f"# One\n\n{own}, {files}/blob/main/READ.md#one and {files}/tree/main/tests.\n")
    (root / "tests" / "test_it.py").write_text(f"# {own}not-looked-at.html")
    (root / "page.html").write_text(
        f"<a href='{own}howto/from.html#a-heading'></a> {own}howto/gone.html. {own}howto/from.html#gone "
        f"{files}/blob/main/gone.py {files}/raw/main/READ.md#gone {files}/blob/main/page.html#L1-L2 {files}/issues"
    )
    (root / "names.py").write_text(
        f"LOST = documented('howto/from#a-heading') + names.documented('howto/lost#x') + f'{own}howto/{{LOST}}'\n"
    )
    (root / "picture.png").write_bytes(b"\xff\xfe")
    urls = {"Documentation": own, "Repository": files}
    faults = checks.address_faults(root, site, urls, lambda page: checks._read(page).ids, checks.anchors)
    assert faults == [
        f"names.py: {own}howto/lost.html#x does not exist",
        f"page.html: {own}howto/gone.html does not exist",
        f"page.html: {own}howto/from.html#gone has no such anchor",
        "page.html: gone.py is no file of the repository",
        "page.html: READ.md#gone has no such heading",
    ]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_has_one_title(checks: ModuleType, page: Path) -> None:
    assert page.read_text().startswith("# ")
    assert len(checks.titles(page)) == 1


def test_every_page_stands_in_one_table_of_contents(checks: ModuleType) -> None:
    named = [page for index in PAGES for page in checks.contents(index)]
    assert sorted(named) == [page for page in PAGES if page != DOCS / "index.md"]


@pytest.mark.parametrize("index", [page for page in PAGES if page.name == "index.md"][1:], ids=_name)
def test_the_index_of_a_folder_says_of_each_page_what_it_is(checks: ModuleType, index: Path) -> None:
    linked = {link.partition("#")[0] for link in checks.links(index)}
    pages = {page.name for page in index.parent.glob("*.md")} - {"index.md"}
    assert pages <= linked


@pytest.mark.parametrize("page", API, ids=lambda page: page.stem)
def test_an_api_page_shows_all_that_its_module_offers(page: Path) -> None:
    text = page.read_text()
    assert MODULE.findall(text) == [page.stem]
    public = set(importlib.import_module(page.stem).__all__) - {"__version__"}
    shown = SHOWN.findall(text)
    elsewhere = {name for name in public.difference(shown) if f"`{name}`" in text}  # it says where
    assert sorted([*shown, *elsewhere]) == sorted(public)


def test_every_command_stands_on_the_page_of_commands() -> None:
    documented = re.findall(r"^   :prog: hnexport (\S+)$", (DOCS / "reference/commands.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS)


def test_the_address_of_the_documentation_is_said_once() -> None:
    from hnexport.names import DOCUMENTATION

    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Documentation"] == DOCUMENTATION


def test_every_page_that_a_message_or_a_docstring_names_exists() -> None:
    from hnexport.names import documented

    named = {
        (path.name, page)
        for path in (ROOT / "hnexport").rglob("*.py")
        for page in re.findall(r"(?<![\w/-])docs/([\w/.-]+)\.md\b|\bdocumented\([\"']([\w/#-]+)[\"']", path.read_text())
    }
    assert documented("howto/from") == "https://hnexport.github.io/hnexport/howto/from.html"
    assert named
    for path, (docstring, message) in named:
        page, _, _ = (docstring or message).partition("#")
        assert (DOCS / f"{page}.md").exists(), (path, page)
