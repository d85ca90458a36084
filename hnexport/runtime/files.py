"""The files of the bundle that is loaded, in a folder or in memory; each is verified once, before it is first used."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from hnexport.bundle.golden import Golden, golden_of, read_golden
from hnexport.bundle.in_memory import PLACE, SafetensorsBytes, as_contents, check_contents, identify_contents
from hnexport.bundle.manifest import read_identified
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.names import GOLDEN_FILE
from hnexport.runtime.options import Checksums
from hnexport.runtime.residents import Arrays
from hnexport.runtime.samples import trial_inputs
from hnexport.runtime.validation import require_path
from hnexport.runtime.verified import verify_files

__all__ = ["BundleFiles"]

logger = logging.getLogger(__name__)


class BundleFiles:
    """The files of one bundle.

    Attributes:
        folder: where they are; in messages alone where they are in memory.
        contents: their bytes by name, where they are in memory.
        manifest: what the bundle says of itself.
    """

    def __init__(self, bundle: object, checksums: Checksums, digest: str | None = None) -> None:
        """Read the manifest of a folder, or of a mapping from file names to bytes.

        Raises:
            BundleError: there is none, it is not valid, or it names no ONNX files.
            RuntimeInputError: this is neither a path nor a mapping.
        """
        self.contents: Mapping[str, memoryview] | None = None
        if isinstance(bundle, Mapping):
            self.folder, self.contents = Path(PLACE), as_contents(bundle)
            self.manifest = identify_contents(self.contents, digest).manifest
        else:
            self.folder = _folder(bundle)
            self.manifest = read_identified(self.folder, digest).manifest
        self._checksums = checksums
        self._verified: set[str] = set()
        if self.manifest.onnx is None:
            held = ", ".join(self.manifest.formats)
            raise BundleError(f"{self.folder} holds no ONNX files, only {held}: build it again with the format onnx")

    def verify(self, names: Iterable[str]) -> None:
        """Compare files with the manifest, those that were not compared before.

        Raises:
            BundleError: one is missing or damaged.
        """
        wanted = [name for name in names if name not in self._verified]
        if self.contents is None:
            verify_files(self.folder, self.manifest, wanted, self._checksums)
        else:
            check_contents(self.contents, self.manifest, wanted, sums=self._checksums is not Checksums.NEVER)
        self._verified.update(wanted)

    def golden(self) -> Golden:
        """The golden samples.

        Raises:
            BundleError: they are missing or damaged.
        """
        self.verify([GOLDEN_FILE])
        if self.contents is None:
            return read_golden(self.folder, self.manifest)
        return golden_of(lambda: SafetensorsBytes(self._bytes(GOLDEN_FILE)), f"{PLACE}: {GOLDEN_FILE}", self.manifest)

    def trial(self) -> Arrays:
        """Inputs of one sample, golden ones if there are any that can be read."""
        try:
            golden = self.golden()
        except BundleError as error:
            logger.info("no golden sample is used: %s", error)
            golden = None
        return trial_inputs(self.manifest.signature, golden)

    def _bytes(self, name: str) -> memoryview:
        return (self.contents or {})[name]


def _folder(bundle: object) -> Path:
    try:
        return require_path("bundle", bundle)
    except RuntimeInputError as error:
        raise RuntimeInputError(f"{error}; or give a mapping from file names to bytes") from None
