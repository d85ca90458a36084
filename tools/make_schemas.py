"""Write the JSON Schemas into the package, and the pages about them into docs/reference/schemas.

python tools/make_schemas.py [--check]

`make schemas` runs it. With `--check` nothing is written; exit code 1 says that a file is not what it would be.
"""

import argparse
import json
import sys
from pathlib import Path

from schemas.documents import DOCUMENTS, ROOT, schema_of
from schemas.pages import index_rows, page_of

SCHEMAS = Path("hnexport/schemas")
PAGES = Path("docs/reference/schemas")
INDEX = PAGES / "index.md"
BEGIN, END = "<!-- schemas: begin -->", "<!-- schemas: end -->"


def made() -> dict[Path, str]:
    """Every file that is made, by its path in the repository."""
    files = {}
    for name in DOCUMENTS:
        schema = schema_of(name)
        files[SCHEMAS / f"{name}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        files[PAGES / f"{name}.md"] = page_of(name, schema)
    before, _, rest = (ROOT / INDEX).read_text(encoding="utf-8").partition(BEGIN)
    files[INDEX] = f"{before}{BEGIN}\n\n{index_rows()}\n\n{END}{rest.partition(END)[2]}"
    return files


def left_over(files: dict[Path, str]) -> list[Path]:
    """Files of schemas that no longer exist."""
    held = [*(ROOT / SCHEMAS).glob("*.schema.json"), *(ROOT / PAGES).glob("*.md")]
    return [path for path in held if path.relative_to(ROOT) not in files]


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a file would change")
    check = parser.parse_args().check
    files = made()
    changed = [
        path
        for path, text in files.items()
        if not (ROOT / path).exists() or (ROOT / path).read_text(encoding="utf-8") != text
    ]
    gone = left_over(files)
    for path in changed:
        print(path)
        if not check:
            (ROOT / path).write_text(files[path], encoding="utf-8")
    for path in gone:
        print(f"{path.relative_to(ROOT)}: no longer made")
        if not check:
            path.unlink()
    return int(check and bool(changed or gone))


if __name__ == "__main__":
    sys.exit(main())
