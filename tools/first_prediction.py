"""How long a visitor waits for the page of `hnexport deploy web`: seconds from opening it, in headless Chromium.

python tools/first_prediction.py BUNDLE [--rounds 4]

`make web-test` brings Playwright, Chromium and onnxruntime-web. A line each for WebAssembly and what the page chooses
by itself (WebGPU, over a software GPU): the medians until the first prediction, and until that of every member.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from web_sites import GPU, QUIET, UNPACKED, serving


def main() -> None:
    """Open the page so often, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    with sync_playwright() as playwright, serving(given.bundle) as address:
        browser = playwright.chromium.launch(executable_path=UNPACKED / "chrome", args=[*QUIET, *GPU])
        for query in ("?provider=wasm", ""):
            waits = [waited(browser, address + query) for _ in range(given.rounds)]
            first, every = (statistics.median(times) for times in zip(*waits, strict=True))
            print(f"{query or 'by itself'}: first {first:.2f} s, every member {every:.2f} s")
        browser.close()


def waited(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds until the first prediction stands there, and until no member is missing; nothing is cached."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(300_000)
    begin = time.perf_counter()
    page.goto(address)
    page.locator(".bars .row").first.wait_for()
    first = time.perf_counter() - begin
    members = page.locator("#members input[type=checkbox]").count()
    page.wait_for_function(
        "(members) => document.querySelector('.says')?.dataset.members?.split(' ').length >= members", arg=members
    )
    every = time.perf_counter() - begin
    context.close()
    return first, every


if __name__ == "__main__":
    main()
