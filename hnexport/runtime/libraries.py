"""The shared libraries that onnxruntime's accelerator providers are linked to, and those of them that are not there."""

import contextlib
import ctypes
import functools
import io
import re
import struct
import sys
from pathlib import Path
from typing import Any

import onnxruntime

__all__ = [
    "can_load",
    "cuda_version",
    "driver_library",
    "missing_libraries",
    "needed_libraries",
    "preload_cuda",
    "provider_library",
]

_LOAD, _DYNAMIC = 1, 2  # kinds of ELF segments
_NEEDED, _STRINGS = 1, 5  # tags of a dynamic segment


def provider_library(provider: str) -> Path:
    """The file with one provider of this onnxruntime; it need not exist."""
    return Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{provider}.so"


def cuda_version() -> str:
    """The major version of CUDA that this onnxruntime was built for, as its provider's libraries say; "" if unknown."""
    for name in needed_libraries(provider_library("cuda")):
        found = re.fullmatch(r"libcublas\.so\.(\d+)", name)
        if found:
            return found[1]
    return ""


def missing_libraries(provider: str) -> tuple[str, ...]:
    """The loader's complaint about each library that the provider needs and that cannot be loaded."""
    complaints = []
    for name in needed_libraries(provider_library(provider)):
        try:
            ctypes.CDLL(name)
        except OSError as error:
            complaints.append(str(error))
    return tuple(complaints)


@functools.cache
def needed_libraries(path: Path) -> tuple[str, ...]:
    """The libraries that a 64-bit ELF file names as needed, in its order; none where it is another kind of file."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head[:6] != b"\x7fELF\x02\x01":
                return ()
            offset, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
            file.seek(offset)
            table = file.read(size * count)
            segments = [struct.unpack_from("<IIQQQQ", table, number * size) for number in range(count)]
            _, _, start, _, _, length = next(segment for segment in segments if segment[0] == _DYNAMIC)
            file.seek(start)
            entries = list(struct.iter_unpack("<QQ", file.read(length // 16 * 16)))
            address = next(value for tag, value in entries if tag == _STRINGS)
            strings = next(
                place + address - virtual
                for kind, _, place, virtual, _, length in segments
                if kind == _LOAD and virtual <= address < virtual + length
            )
            names = []
            for tag, value in entries:
                if tag == _NEEDED:
                    file.seek(strings + value)
                    names.append(file.read(256).split(b"\0")[0].decode("ascii", "replace"))
            return tuple(names)
    except (OSError, struct.error, StopIteration):
        return ()


def preload_cuda() -> None:
    """Load the CUDA and cuDNN that pip installed, if it did; onnxruntime does not look there by itself."""
    preload: Any = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:  # it prints what it does not find
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            preload()


def can_load(library: str) -> bool:
    """Whether the dynamic loader finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def driver_library() -> str:
    """The library of the NVIDIA driver, by its name on this system."""
    return "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
