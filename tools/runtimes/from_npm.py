"""What JavaScript's runtimes need: Node.js, npm's packages, and the Chromium that npm brings."""

import contextlib
import os
import shutil
import sys
from pathlib import Path

from runtimes.commands import ROOT, NotRunError, run

PACKAGES = Path("tests/runtimes/node_modules/.package-lock.json")
BROWSER = Path("tests/web/node_modules/.chromium/chrome")
PROBED = "onnxruntime-web"


def require_packages() -> None:
    """Install by make's rules what is not there yet, and name the browser.

    Raises:
        NotRunError: this machine has no npm, no registry answers it, or it fails.
    """
    os.environ.setdefault("CHROMIUM", str(ROOT / BROWSER))
    if shutil.which("npm") is None:
        raise NotRunError("not run: no npm here, and pip found none")
    make = ["make", "--directory", str(ROOT), f"VENV={Path(sys.executable).parents[1]}", str(PACKAGES), str(BROWSER)]
    with contextlib.suppress(NotRunError):
        run([*make, "--question"], limit_s=60)
        return
    try:
        run(["npm", "view", PROBED, "version", "--fetch-retries=1"], limit_s=60)
    except NotRunError as error:
        raise NotRunError(f"not run: npm's registry does not answer: {error}") from error
    run(make, limit_s=600)
