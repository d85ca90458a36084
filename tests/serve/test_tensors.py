"""Tensors in JSON and in bytes."""

import json
from typing import Any

import numpy as np
import pytest

from hnexport.serve.refusal import RefusedError
from hnexport.serve.tensors import DATATYPES, as_json_numbers, from_bytes, from_json, shape_of, to_bytes


@pytest.mark.parametrize(("datatype", "dtype"), DATATYPES.items())
def test_every_datatype_comes_back_bit_for_bit_from_bytes_and_from_json(datatype: str, dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (2, 3)).astype(dtype)
    if array.dtype.kind == "f":
        array = (array + np.random.default_rng(1).standard_normal((2, 3))).astype(dtype)
    again = from_bytes(memoryview(to_bytes(array)), datatype, [2, 3], "x")
    read = from_json(json.loads(json.dumps(as_json_numbers(array))), datatype, [2, 3], "x")
    for found in (again, read):
        assert found.dtype == array.dtype
        assert found.tobytes() == array.tobytes()


def test_bytes_that_do_not_lie_where_numbers_lie_are_copied() -> None:
    data = b"x" + np.arange(4, dtype=np.float32).tobytes()
    found = from_bytes(memoryview(data)[1:], "FP32", [4], "x")
    assert found.flags.aligned
    assert found.tolist() == [0, 1, 2, 3]


def test_what_json_cannot_say_is_null_and_null_is_nan() -> None:
    text = json.dumps(as_json_numbers(np.array([[1.5, np.nan], [np.inf, -np.inf]], np.float32)), allow_nan=False)
    assert json.loads(text) == [[1.5, None], [None, None]]
    assert np.isnan(from_json([1.0, None], "FP32", [2], "x")).tolist() == [False, True]


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "said"),
    [
        ([1, 2], "FP32", [3], "data of shape"),
        ([[1, 2], [3, 4]], "FP32", [4], "data of shape"),
        ([[1], [2, 3]], "FP32", [3], "different lengths"),
        (["1"], "FP32", [1], "expected numbers"),
        ([None, "1"], "FP32", [2], "expected numbers"),
        ([None], "INT64", [1], "whole numbers"),
        ([1.5], "INT64", [1], "whole numbers"),
        ([True], "INT32", [1], "whole numbers"),
        ([256], "UINT8", [1], "does not fit into uint8"),
        ([-1], "UINT64", [1], "does not fit"),
        ([2**70], "INT64", [1], "whole numbers"),
        ([1e39], "FP32", [1], "too large for float32"),
        ([70000], "FP16", [1], "too large for float16"),
        ([1], "BOOL", [1], "true and false"),
        ([True, 1], "BOOL", [2], "true and false"),
        ([True, 0], "INT64", [2], "true or false among"),
        ([[0.5, 1], [0.5, False]], "FP32", [2, 2], "true or false among"),
        ([{}], "FP32", [1], "expected numbers"),
        (3, "FP32", [], "must be a list"),
        ([1], "BYTES", [1], "datatype must be one of"),
        ([1], None, [1], "datatype must be one of"),
    ],
)
def test_other_numbers_than_the_datatypes_are_refused(
    data: Any, datatype: str | None, shape: list[int], said: str
) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        from_json(data, datatype, shape, "x")
    assert refused.value.status == 400


def test_bytes_of_another_size_and_bools_that_are_none_are_refused() -> None:
    with pytest.raises(RefusedError, match="has 8 bytes, found 4"):
        from_bytes(memoryview(b"1234"), "FP32", [2], "x")
    with pytest.raises(RefusedError, match="a byte 0 or 1"):
        from_bytes(memoryview(b"\2"), "BOOL", [1], "x")


@pytest.mark.parametrize("shape", [None, 3, [1.0], [True], [-1], [2**40], [1] * 20, ["1"], [2**31, 2**31, 0]])
def test_a_shape_is_a_list_of_sizes(shape: Any) -> None:
    said = "must be a list of at most 16 sizes|a size of the shape is a whole number from 0|no tensor has the shape"
    with pytest.raises(RefusedError, match=f"^x: .*({said})"):
        shape_of(shape, "x")
