"""Sites as a user serves them."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "web"
PACKAGES = HERE / "node_modules"
UNPACKED = PACKAGES / ".chromium"
# A software GPU, so that WebGPU's own kernels run on any machine.
GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--ignore-gpu-blocklist",
       "--enable-features=Vulkan,WebGPU")  # fmt: skip
QUIET = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip

Page: TypeAlias = Any
"""A page of Playwright, which only the extra `browser` brings."""


class OpenPage(Protocol):
    """Open an address in a fresh browser context, whose options are Playwright's; `before` sees the page first."""

    def __call__(self, address: str, *, before: Callable[[Page], object] | None = None, **options: Any) -> Page: ...


class Node(Protocol):
    """Run a script of `tests/web` in Node; what it prints."""

    def __call__(self, script: str, *arguments: object) -> str: ...


@contextmanager
def serving(bundle: Path, *options: object) -> Iterator[str]:
    """`hnexport deploy web BUNDLE --serve` as a user runs it; the address that it prints."""
    command = [sys.executable, "-m", "hnexport", "deploy", "web", bundle, "--serve", "--port", 0]
    command += ["--runtime", PACKAGES / "onnxruntime-web", *options]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                    yield found[0]
                    return
            raise AssertionError("".join(lines))
        finally:
            process.terminate()
