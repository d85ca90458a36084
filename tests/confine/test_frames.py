"""Frames carry numbers, and nothing that is not a frame gets through."""

import io
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest

from hnexport.confine.frames import DTYPES, FrameError, frame_parts, read_frame


def exactly(data: bytes) -> Callable[[int], bytes]:
    source = io.BytesIO(data)

    def read(size: int) -> bytes:
        found = source.read(size)
        if len(found) != size:
            raise EOFError
        return found

    return read


def frame(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_as_they_were(dtype: str) -> None:
    arrays = [
        ("a", np.arange(6).reshape(2, 3).astype(dtype).T),
        ("", np.zeros((0, 2), dtype)),
        ("s", np.ones((), dtype)),
    ]
    found = read_frame(exactly(b"".join(frame_parts({"x": 1}, arrays))), 1000)
    assert dict(found.meta) == {"x": 1}
    for (name, array), (expected_name, expected) in zip(found.arrays, arrays, strict=True):
        assert (name, array.dtype, array.shape) == (expected_name, expected.dtype, expected.shape)
        assert np.array_equal(array, expected)


def array(**changes: object) -> dict[str, object]:
    return {"meta": {}, "arrays": [{"name": "a", "dtype": "float32", "shape": [2], **changes}]}


WRONG = {
    "a huge header": struct.pack("<Q", 2**60),
    "no JSON": frame(b"\x80\x04cos\nsystem\n"),
    "deep JSON": frame(b"[" * 100_000),
    "a number of 5,000 digits": frame(b'{"meta": {}, "arrays": [' + b"9" * 5000 + b"]}"),
    "a list": frame([]),
    "an object dtype": frame(array(dtype="object")),
    "a structured dtype": frame(array(dtype=[["a", "f4"]])),
    "a negative size": frame(array(shape=[-1])),
    "a boolean size": frame(array(shape=[True])),
    "too many dimensions": frame(array(shape=[1] * 9)),
    "more than is allowed": frame(array(shape=[10**6])),
    "a size that overflows": frame(array(shape=[2**39, 2**39])),
    "no elements, of a size that overflows": frame(array(shape=[0, 2**39, 2**39, 2**39])),
    "another field": frame(array(file="x")),
    "a name that is none": frame(array(name=1)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_frame_is_refused_before_anything_is_allocated(case: str) -> None:
    with pytest.raises(FrameError):
        read_frame(exactly(WRONG[case]), 1000)


def test_an_array_of_objects_cannot_be_sent() -> None:
    with pytest.raises(FrameError, match="cannot be sent"):
        list(frame_parts({}, [("a", np.array([None]))]))
