"""Write the error catalogue, docs/reference/errors.md, out of the package's source.

python tools/error_catalogue.py [--check]

`make errors` runs it. With `--check` nothing is written; exit code 1 says that the page is not what it would be, or
that a message cannot be read out of the source. What to do about messages that many people meet stands in
tools/messages/remedies.toml, where a text may be passed on unread in tools/messages/unread.toml.
"""

import argparse
import sys
from pathlib import Path

from messages.found import Found, find
from messages.page import catalogue, exit_one, read_remedies, read_unread, remedies, stale, unlisted

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hnexport"
PAGE = ROOT / "docs" / "reference" / "errors.md"
REMEDIES = ROOT / "tools" / "messages" / "remedies.toml"
UNREAD = ROOT / "tools" / "messages" / "unread.toml"


def between(page: str, name: str, text: str) -> str:
    """A page with the text between two of its markers replaced."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{PAGE} has no {begin} … {end}")
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"


def made(found: Found) -> str:
    """The page."""
    known = read_remedies(REMEDIES)
    wrong = stale(found, known)
    if wrong:
        raise SystemExit(f"{REMEDIES.name}: no message is like {wrong[0]!r}")
    unread = unlisted(found, read_unread(UNREAD))
    if unread:
        raise SystemExit("\n".join(unread))
    page = between(PAGE.read_text(encoding="utf-8"), "remedies", remedies(known, found))
    return between(page, "catalogue", catalogue(found, exit_one(PACKAGE)))


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page would change")
    check = parser.parse_args().check
    text = made(find(PACKAGE))
    changed = PAGE.read_text(encoding="utf-8") != text
    if changed and not check:
        PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {'changed' if changed else 'as it is'}")
    return int(check and changed)


if __name__ == "__main__":
    sys.exit(main())
