"""Compile the web page's TypeScript (examples/web) into the package, and note which sources that was: `make page`.

Users of `hnexport deploy web` need no compiler, since the scripts are shipped. `compiled.json` lets a test without a
compiler see that they are those of the sources beside them.
"""

import hashlib
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "examples" / "web"
SITE = ROOT / "hnexport" / "deploy" / "static"
NOTE = SOURCES / "compiled.json"
FOLDERS = ("module", "page")


def digests() -> dict[str, str]:
    """SHA-256 of every source and of every script, by path from the root."""
    found = {}
    for root, ending in ((SOURCES, "*.ts"), (SITE, "*.js")):
        for path in (path for folder in FOLDERS for path in (root / folder).glob(ending)):
            found[path.relative_to(ROOT).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(sorted(found.items()))


def main() -> None:
    """Compile everything anew."""
    for folder in FOLDERS:
        for path in (SITE / folder).glob("*.js"):  # one whose source is gone
            path.unlink()
    subprocess.run([SOURCES / "node_modules" / ".bin" / "tsc", "--project", SOURCES / "tsconfig.page.json"], check=True)
    NOTE.write_text(json.dumps(digests(), indent=1) + "\n", encoding="utf-8", newline="\n")
    print(f"{SITE.relative_to(ROOT)}: {len(digests())} files noted in {NOTE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
