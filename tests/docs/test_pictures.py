"""Every picture is made by a command, which stands in its page, and every file of pictures is shown."""

import re
from pathlib import Path

import pytest
from pages.blocks import ROOT, pages
from typed_pages import name

PICTURES = ROOT / "docs/pictures"
SHOWN = [(page, match[1]) for page in pages() for match in re.finditer(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())]


@pytest.mark.parametrize(("page", "picture"), SHOWN, ids=lambda value: value if isinstance(value, str) else name(value))
def test_a_command_beside_the_picture_makes_it(page: Path, picture: str) -> None:
    file = (page.parent / picture).name
    assert f"<!-- make pictures ONLY={file} -->" in page.read_text(encoding="utf-8")
    assert f'"{file}":' in (ROOT / "tools/make_pictures.py").read_text()


def test_every_picture_is_shown_somewhere() -> None:
    shown = {(page.parent / picture).resolve() for page, picture in SHOWN}
    assert {path for path in PICTURES.iterdir() if path.suffix in (".svg", ".png")} <= shown
