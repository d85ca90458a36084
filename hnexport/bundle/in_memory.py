"""Bundles whose files are bytes in memory, by name: out of a database, a zip archive, a service's answer."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hnexport.bundle.manifest import MAX_MANIFEST_BYTES, Identified, Manifest, identified
from hnexport.errors import BundleError
from hnexport.names import MANIFEST_FILE
from hnexport.reading import ReadError, parse_json, shown

__all__ = ["PLACE", "SafetensorsBytes", "as_contents", "check_contents", "identify_contents"]

PLACE = "the bundle in memory"
_DTYPES = MappingProxyType(
    {
        "BOOL": "bool",
        "U8": "uint8",
        "I8": "int8",
        "U16": "uint16",
        "I16": "int16",
        "U32": "uint32",
        "I32": "int32",
        "U64": "uint64",
        "I64": "int64",
        "F16": "float16",
        "F32": "float32",
        "F64": "float64",
    }
)
_MOST_HEADER_BYTES = 100_000_000  # as safetensors itself reads


def as_contents(files: Mapping[Any, Any]) -> Mapping[str, memoryview]:
    """The files as views of bytes, by name; copies of what may still be written into, or has gaps.

    Raises:
        BundleError: something else than names and bytes was given.
    """
    found = {}
    for name, data in files.items():
        if not isinstance(name, str) or not isinstance(data, bytes | bytearray | memoryview):
            raise BundleError(
                f"{PLACE}: expected file names with their bytes, found {shown(name)} with {type(data).__name__}"
            )
        view = memoryview(data)
        found[name] = view.cast("B") if view.readonly and view.c_contiguous else memoryview(bytes(view))
    return found


def identify_contents(files: Mapping[str, memoryview], digest: str | None = None) -> Identified:
    """The manifest, and which bundle it is.

    Raises:
        BundleError: as `read_identified`.
    """
    if MANIFEST_FILE not in files:
        raise BundleError(f"{PLACE} is no bundle: it has no {MANIFEST_FILE}, only {shown(sorted(files))}")
    if len(files[MANIFEST_FILE]) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{PLACE}: {MANIFEST_FILE} is larger than {MAX_MANIFEST_BYTES} bytes")
    return identified(bytes(files[MANIFEST_FILE]), PLACE, MANIFEST_FILE, digest)


def check_contents(files: Mapping[str, memoryview], manifest: Manifest, names: Iterable[str], *, sums: bool) -> None:
    """Compare files with the manifest: sizes always, SHA-256 where `sums` says so.

    Raises:
        BundleError: one is missing or damaged; the message names it.
    """
    for name in names:
        if name not in manifest.files:
            raise BundleError(f"{PLACE} has no {name} in its manifest; it holds {', '.join(manifest.files)}")
        if name not in files:
            raise BundleError(f"{PLACE} lacks {name}: give the bytes of that file too")
        record, data = manifest.files[name], files[name]
        if len(data) != record.size_bytes:
            raise BundleError(
                f"{PLACE}: {name} is damaged: expected {record.size_bytes} bytes, found {len(data)}; read it again"
            )
        if sums and hashlib.sha256(data).hexdigest() != record.sha256:
            raise BundleError(f"{PLACE}: {name} is damaged: its SHA-256 is not the manifest's; read it again")


class SafetensorsBytes:
    """A safetensors file in memory, read as `safetensors.safe_open` reads one: tensors by name, header first."""

    def __init__(self, data: memoryview) -> None:
        """Read the header.

        Raises:
            ReadError: it is none.
        """
        size = int.from_bytes(data[:8], "little") if len(data) >= 8 else 0
        if not 0 < size <= min(len(data) - 8, _MOST_HEADER_BYTES):
            raise ReadError("its header is cut off")
        header = parse_json(bytes(data[8 : 8 + size]), "its header")
        if not isinstance(header, dict):
            raise ReadError("its header is no object")
        self._metadata = header.pop("__metadata__", None)
        self._data = data[8 + size :]
        self._tensors = {name: _Tensor(name, entry, self._data) for name, entry in header.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def metadata(self) -> dict[str, str] | None:
        """What the file says about itself."""
        return self._metadata if isinstance(self._metadata, dict) else None

    def keys(self) -> list[str]:
        """The tensors' names."""
        return list(self._tensors)

    def get_slice(self, name: str) -> "_Tensor":
        """A tensor's dtype and shape."""
        return self._tensors[name]

    def get_tensor(self, name: str) -> NDArray[np.generic]:
        """A tensor, as a view of the bytes."""
        return self._tensors[name].array()


class _Tensor:
    """An entry of the header; its bytes are those of its shape and dtype."""

    def __init__(self, name: str, entry: Any, data: memoryview) -> None:
        try:
            self._dtype, self._shape, (start, end) = str(entry["dtype"]), list(entry["shape"]), entry["data_offsets"]
            sizes = [size for size in self._shape if type(size) is int and size >= 0]
            fits = len(sizes) == len(self._shape) and type(start) is type(end) is int and 0 <= start <= end <= len(data)
        except (TypeError, KeyError, ValueError) as error:
            raise ReadError(f"its entry {shown(name)} describes no tensor: {json.dumps(entry)[:80]}") from error
        dtype = np.dtype(_DTYPES[self._dtype]) if self._dtype in _DTYPES else None
        if not fits or (dtype is not None and end - start != dtype.itemsize * int(np.prod(sizes, dtype=object))):
            raise ReadError(f"its entry {shown(name)} does not fit its bytes")
        self._numpy, self._bytes = dtype, data[start:end]

    def get_dtype(self) -> str:
        """As safetensors names it."""
        return self._dtype

    def get_shape(self) -> list[int]:
        """The sizes."""
        return self._shape

    def array(self) -> NDArray[np.generic]:
        """The tensor."""
        if self._numpy is None:
            raise ReadError(f"NumPy has no {self._dtype}")
        return np.frombuffer(self._bytes, self._numpy.newbyteorder("<")).reshape(self._shape)
