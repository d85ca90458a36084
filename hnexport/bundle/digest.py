"""A bundle's digest: `sha256:` and the SHA-256 of the bytes of its `manifest.json`.

The manifest holds the SHA-256 of every other file, so that the digest stands for the whole bundle. Checksums inside a
bundle prove that it is whole; a digest that came from elsewhere proves which bundle it is.
"""

import hashlib
import re

from hnexport.errors import BundleError

__all__ = ["DIGEST_PREFIX", "check_digest", "digest_of", "parse_digest"]

DIGEST_PREFIX = "sha256:"
_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(manifest_bytes: bytes) -> str:
    """The digest of the bundle with this `manifest.json`."""
    return DIGEST_PREFIX + hashlib.sha256(manifest_bytes).hexdigest()


def parse_digest(digest: str) -> str:
    """A digest as `build` prints it.

    Raises:
        BundleError: it is something else.
    """
    if not isinstance(digest, str) or _FORM.fullmatch(digest) is None:
        raise BundleError(
            f"{str(digest)[:100]!r} is not a digest: expected sha256: and 64 hexadecimal digits in lower case, "
            "as `hnexport build` and `hnexport inspect` print it"
        )
    return digest


def check_digest(place: str, found: str, expected: str) -> None:
    """Compare a bundle's digest with the one that it must have.

    Raises:
        BundleError: it is another, or `expected` is none.
    """
    if found != parse_digest(expected):
        raise BundleError(
            f"{place} is not the bundle that was asked for: expected the digest {expected}, found {found}; "
            "get the bundle again from whoever gave you the digest"
        )
