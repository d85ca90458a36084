"""Screenshots, in the Chromium that `make web-test` brings or that CHROMIUM names."""

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BROUGHT = ROOT / "tests/web/node_modules/.chromium/chrome"
FLAGS = (
    *("--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--ignore-gpu-blocklist"),
    "--enable-features=Vulkan,WebGPU",  # on the software GPU that it brings: without one there are no screenshots
)


def screenshot(
    address: str, target: Path, *, width: int, height: int | None = None, act: Callable[[Any], None] | None = None
) -> None:
    """Write a PNG of a page, or of its upper part of a height in pixels, after `act` did something on it."""
    from playwright.sync_api import sync_playwright

    browser_path = os.environ.get("CHROMIUM") or str(BROUGHT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height or 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        if act is not None:
            act(page)
        page.screenshot(path=target, full_page=height is None)
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, served on this machine."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
