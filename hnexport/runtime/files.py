"""The files of the bundle that is loaded, in a folder or in memory; each is verified once, before it is first used."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hnexport.bundle.checksums import check_files
from hnexport.bundle.golden import Golden, golden_of, read_golden
from hnexport.bundle.in_memory import PLACE, SafetensorsBytes, as_contents, check_contents, identify_contents
from hnexport.bundle.manifest import read_identified
from hnexport.errors import BundleError, RuntimeInputError
from hnexport.names import GOLDEN_FILE, MANIFEST_FILE
from hnexport.runtime.options import Checksums
from hnexport.runtime.residents import Arrays
from hnexport.runtime.samples import trial_inputs
from hnexport.runtime.validation import require_path
from hnexport.runtime.verified import verify_files

__all__ = ["BundleFiles"]

logger = logging.getLogger(__name__)

_Stamp = tuple[int, ...] | None


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
            self.folder, self.contents, listed = Path(PLACE), as_contents(bundle), None
            self.manifest = identify_contents(self.contents, digest).manifest
        else:
            self.folder = _folder(bundle)
            listed = self._stamp(MANIFEST_FILE)
            self.manifest = read_identified(self.folder, digest).manifest
        self._checksums = checksums
        self._listed = listed
        self._verified: dict[str, _Stamp] = {}
        if self.manifest.onnx is None:
            held = ", ".join(self.manifest.formats)
            raise BundleError(f"{self.folder} holds no ONNX files, only {held}: build it again with the format onnx")

    def verify(self, names: Iterable[str]) -> None:
        """Compare files with the manifest, those that were not compared before.

        Raises:
            BundleError: one is missing or damaged.
        """
        wanted = [name for name in names if name not in self._verified]
        before = {name: self._stamp(name) for name in wanted}  # what is written meanwhile is seen when it is opened
        if self.contents is None:
            verify_files(self.folder, self.manifest, wanted, self._checksums)
        else:
            check_contents(self.contents, self.manifest, wanted, sums=self._checksums is not Checksums.NEVER)
        self._verified.update(before)

    @contextmanager
    def opening(self, names: Iterable[str]) -> Iterator[None]:
        """While a runtime opens files by their paths: they are those that were verified, however long ago that was.

        Raises:
            BundleError: one is missing or damaged, or others have taken their place.
        """
        names = list(names)
        try:
            self.verify(names)
        except BundleError as error:
            if self._stamp(MANIFEST_FILE) == self._listed:
                raise
            raise self._replaced(str(error)) from error
        self._require_same(names)
        try:
            yield
        finally:
            self._require_same(names)  # the path may have led elsewhere meanwhile; that explains what failed, too

    def _require_same(self, names: list[str]) -> None:
        """A file whose stamp changed is read again: file systems over a network give other inodes of the same file."""
        for name in names:
            found = self._stamp(name)
            if found == self._verified[name]:
                continue
            try:
                check_files(self.folder, self.manifest, [name])
            except BundleError as error:
                raise self._replaced(str(error)) from error
            self._verified[name] = found

    def _replaced(self, how: str) -> BundleError:
        return BundleError(f"{self.folder} was replaced or changed since it was loaded: load it again ({how})")

    def _stamp(self, name: str) -> _Stamp:
        """Another one where the file is another, or was written to; None where it cannot be seen."""
        if self.contents is not None:
            return None
        try:
            found = (self.folder / name).stat()
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

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
