"""Sites as a user serves them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "web"
PACKAGES = HERE / "node_modules"


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
