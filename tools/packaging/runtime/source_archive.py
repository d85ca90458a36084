"""Source distributions that are equal byte for byte whoever makes them of the same files, and whenever."""

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from email.parser import HeaderParser
from pathlib import Path

__all__ = ["write_archive"]

_NEVER_BEFORE = 315532800  # 1980-01-01, where zip files begin: wheels have the same default


def write_archive(folder: str | Path, files: Mapping[str, Path], metadata: Path) -> str:
    """Write `NAME-VERSION.tar.gz` and return its name.

    Args:
        folder: where to.
        files: where each of them lies now, by its path in the archive, with slashes.
        metadata: the file METADATA of the same distribution's wheel: it becomes PKG-INFO, and says name and version.
    """
    said = HeaderParser().parsestr(metadata.read_text(encoding="utf-8"))
    top = f"{said['Name'].replace('-', '_')}-{said['Version']}"
    name, epoch = f"{top}.tar.gz", int(os.environ.get("SOURCE_DATE_EPOCH", _NEVER_BEFORE))
    with (
        open(Path(folder) / name, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=epoch) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, source in sorted({**files, "PKG-INFO": metadata}.items()):
            content = source.read_bytes()  # of a link, what it leads to
            entry = tarfile.TarInfo(f"{top}/{path}")
            entry.size, entry.mtime = len(content), epoch
            entry.mode = 0o755 if os.access(source, os.X_OK) else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return name
