"""The page in a real browser: `make web-test` brings one and sets HNEXPORT_BROWSER=1; without it nothing runs."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from web_sites import GPU, HERE, QUIET, ROOT, UNPACKED, Node, OpenPage, Page

SOURCES = ROOT / "examples" / "web"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("HNEXPORT_BROWSER") == "1":
        return
    without = [item for item in items if item.get_closest_marker("browser")]
    items[:] = [item for item in items if not item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=without)


def _chromium() -> str:
    """The browser: $CHROMIUM, or what npm brought."""
    found = os.environ.get("CHROMIUM") or str(UNPACKED / "chrome")
    assert Path(found).exists(), "no Chromium: `make web-test` brings one, or name yours, CHROMIUM=/path/to/chrome"
    return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=[*QUIET, *GPU])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Opens an address in a fresh browser context; a message in the console, or a fault of the page, fails the test."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def open_it(address: str, *, before: Callable[[Page], object] | None = None, **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        if before is not None:
            before(page)
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the TypeScript compiles to, as an ES module that Node reads."""
    folder = tmp_path_factory.mktemp("compiled")
    compiler = SOURCES / "node_modules" / ".bin" / "tsc"
    assert compiler.exists(), "no compiler: `make web-test` brings it"
    subprocess.run([compiler, "--project", SOURCES / "tsconfig.page.json", "--outDir", folder], check=True)
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def node(compiled: Path) -> Node:
    """Runs a script of this folder in Node, with the compiled modules as `$COMPILED`; what it prints."""

    def run(script: str, *arguments: object) -> str:
        found = shutil.which("node")
        assert found, "no Node.js: `make web-test` brings one"
        done = subprocess.run(
            [found, str(HERE / script), *map(str, arguments)],
            env={**os.environ, "COMPILED": str(compiled)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
