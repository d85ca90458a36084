"""`.npy` files: what is taken without change, and what is refused before anything is allocated."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import read_images

from hnexport.errors import RuntimeInputError
from hnexport.images.arrays import array_slice
from hnexport.networks.wide_resnet.spec import ImageSpec, PipelineSpec, WideResNetSpec
from hnexport.spec import BATCH, TensorSpec

SPEC = PipelineSpec(
    network=WideResNetSpec(blocks_per_group=1, widening=1, image=ImageSpec(channels=3, height=6, width=9)), members=1
)
VALUES = np.random.default_rng(0).standard_normal((2, 3, 6, 9)).astype(np.float32)


def read(path: Path) -> NDArray[Any]:
    return read_images([path], SPEC).images


TAKEN = {
    "big-endian": VALUES.astype(">f4"),
    "little-endian": VALUES.astype("<f4"),
    "Fortran order": np.asfortranarray(VALUES),
    "one image in Fortran order": np.asfortranarray(VALUES[0]),
    "float16": VALUES.astype(np.float16),
    "big-endian float16": VALUES.astype(">f2"),
    "not finite": np.where(VALUES > 1, np.nan, np.where(VALUES < -1, np.inf, VALUES)).astype(np.float32),
}


@pytest.mark.parametrize("array", TAKEN.values(), ids=TAKEN.keys())
def test_the_same_numbers_come_out(tmp_path: Path, array: NDArray[np.float16] | NDArray[np.float32]) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read(tmp_path / "a.npy")
    assert found.dtype == np.dtype("=f4")
    assert found.flags.c_contiguous
    assert np.array_equal(found, array.reshape(-1, 3, 6, 9).astype(np.float32), equal_nan=True)


def header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    data = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(data)) + data


def described(shape: tuple[int, ...] | str, descr: str = "'<f4'", order: bool = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def saved(array: Any, **options: bool) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, images=VALUES)
    return stream.getvalue()


BAD = {
    "10^13 images": (header(described((10**13, 3, 6, 9))), "holds less than it says: 0 bytes after its header"),
    "a size of 4000 digits": (header(described(f"({'9' * 4000}, 3, 6, 9)")), "holds less than it says"),
    "a size of 5000 digits": (header(described(f"({'9' * 5000}, 3, 6, 9)")), "cannot be read as a .npy file"),
    "a size that wraps around": (header(described((2**64 // 162 + 1, 3, 6, 9))), "holds less than it says"),
    "a negative size": (header(described((-1, 3, 6, 9))), r"its shape is \(-1, 3, 6, 9\)"),
    "a size that is a bool": (header(described("(True, 3, 6, 9)")), "its shape is"),
    "cut": (saved(VALUES)[:-1], "holds less than it says"),
    "something after the array": (saved(VALUES) + saved(VALUES), "holds more than it says"),
    "a long header": (header(described((2, 3, 6, 9)) + " " * 20_000), "its header is .* bytes long"),
    "a header of 4 GiB": (b"\x93NUMPY\x02\x00" + b"\xff" * 8, "its header is 4,294,967,295 bytes long"),
    "version 3": (header(described((2, 3, 6, 9)), (3, 0)), "version 3.0 of the format holds no images"),
    "deep": (header("(" * 5000), "cannot be read as a .npy file"),
    "code": (header("__import__('os').system('false')"), "cannot be read as a .npy file"),
    "only the magic": (b"\x93NUMPY\x01\x00", "cannot be read as a .npy file"),
    "an archive": (zipped(), "it is a .npz archive; give a .npy file with one array"),
    "objects": (saved(np.array([{}], object), allow_pickle=True), "holds pickled Python objects, which are never read"),
    "fields": (saved(np.zeros(2, [("a", "<f4")])), "expected float32, found"),
    "raw bfloat16": (header(described((1, 3, 6, 9), "'|V2'")), "if these are bfloat16"),
    "no axis": (saved(np.float32(1)), r"expected shape \[batch, 3, 6, 9\], found \[\]"),
    "no image": (saved(VALUES[:0]), "the batch is empty"),
    "pixels": (saved(np.zeros((2, 3, 6, 9), np.uint8)), r"found uint8; .*\(pixels / 255 - mean\) / std"),
    "text": (saved(np.array(["a"])), "expected float32, found <U1"),
    "dates": (saved(np.zeros(3, "datetime64[s]")), "expected float32, found datetime64"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_taken_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(RuntimeInputError, match=f"a.npy.*{message}") as caught:
        read(tmp_path / "a.npy")
    assert len(str(caught.value)) < 800


def test_the_old_headers_of_python_2_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(header(described("(2L, 3L, 6L, 9L)")) + VALUES.tobytes())
    assert np.array_equal(read(tmp_path / "a.npy"), VALUES)


def test_an_archive_of_arrays_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(zipped())
    with pytest.raises(
        RuntimeInputError, match=r"a.npz is an archive of arrays \(.npz\): save the one with the images"
    ):
        read(tmp_path / "a.npz")


def test_some_samples_of_an_array_are_read_alone_and_not_in_fortran_order(tmp_path: Path) -> None:
    tensor = TensorSpec(name="x", dtype="float32", shape=(BATCH, 3, 2))
    array = np.arange(42, dtype=np.float16).reshape(7, 3, 2)
    np.save(tmp_path / "a.npy", array)
    content = (tmp_path / "a.npy").read_bytes()
    for start, stop in ((0, 7), (2, 5), (6, 7)):
        found = array_slice(io.BytesIO(content), len(content), tensor, "a", start, stop)
        assert found.dtype == np.float32
        assert np.array_equal(found, array[start:stop])
    with pytest.raises(RuntimeInputError, match="a holds less than it says"):
        array_slice(io.BytesIO(content[:-1]), len(content) - 1, tensor, "a", 0, 1)
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    content = (tmp_path / "f.npy").read_bytes()
    with pytest.raises(RuntimeInputError, match="is in Fortran order"):
        array_slice(io.BytesIO(content), len(content), tensor, "f", 0, 1)
