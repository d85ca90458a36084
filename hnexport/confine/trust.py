"""Who is trusted: bundles that this user built, remembered by digest, and what the caller vouches for.

TorchScript and `.pt2` files are programs. They run in this process only where their bytes are those of a trusted
bundle; all others run in a confined one, see `hnexport.parity.confined`. A remembered bundle is a file in the user's
cache, `trusted/<digest>`: removing it takes the trust back.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from hnexport.bundle.digest import DIGEST_PREFIX
from hnexport.bundle.manifest import Manifest
from hnexport.errors import CacheError
from hnexport.runtime.cache import cache_folder

__all__ = ["NOBODY", "Trust", "bundle_trust", "is_remembered", "remember"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Which programs may run in this process.

    Attributes:
        everything: the caller knows who made what is run.
        files: SHA-256, in hexadecimal, of the files of trusted bundles.
    """

    everything: bool = False
    files: frozenset[str] = frozenset()

    def covers(self, content: bytes) -> bool:
        """Whether a file with these bytes may run in this process."""
        return self.everything or hashlib.sha256(content).hexdigest() in self.files


NOBODY = Trust()
"""Nothing runs but in confinement."""


def bundle_trust(manifest: Manifest, digest: str, *, asked: bool) -> Trust:
    """The trust that a bundle has: the files of its manifest, where its digest is remembered.

    Args:
        asked: the caller vouches for whatever is run.
    """
    known = is_remembered(digest)
    files = frozenset(record.sha256 for record in manifest.files.values()) if known else frozenset()
    return Trust(everything=asked, files=files)


def remember(digest: str) -> None:
    """Trust the bundle with this digest from now on; where there is no cache to write, only a log line says so."""
    try:
        path = _entry(digest)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch()
    except (OSError, CacheError) as error:
        logger.info("the new bundle is not remembered as trusted, so its programs run confined: %s", error)


def is_remembered(digest: str) -> bool:
    """Whether `remember` was called with this digest by this user."""
    try:
        return _entry(digest).is_file()
    except (OSError, CacheError):
        return False


def _entry(digest: str) -> Path:
    return cache_folder() / "trusted" / digest.removeprefix(DIGEST_PREFIX)
