"""Whatever people hand over as images: the same numbers, or our own error with what to do."""

import array
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hnexport.errors import RuntimeInputError
from hnexport.members import check_member, check_members
from hnexport.runtime import LoadedEnsemble, load
from hnexport.runtime.inputs import check_input
from hnexport.spec import TensorSpec

FLOATS = TensorSpec(name="image", dtype="float32", shape=("batch", 1, 2, 3))
PIXELS = TensorSpec(name="image", dtype="uint8", shape=("batch", 2, 3, 1))
FLAT = TensorSpec(name="image", dtype="float32", shape=("batch", 6))
VALUES = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 1, 2, 3)
COARSE = VALUES.astype(ml_dtypes.bfloat16)


class OnlyArray:
    """As TensorFlow's and JAX's arrays."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.floating] | NDArray[Any]:
        return VALUES if dtype is None else VALUES.astype(dtype)


class OnlyDlpack:
    def __dlpack__(self, **options: Any) -> Any:
        return VALUES.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return VALUES.__dlpack_device__()


def read_only() -> NDArray[np.floating]:
    values = VALUES.copy()
    values.flags.writeable = False
    return values


def tensor(**options: bool) -> Tensor:
    return torch.tensor(VALUES, **options)


TAKEN = {
    "big-endian": lambda: VALUES.astype(">f4"),
    "read-only": read_only,
    "not contiguous": lambda: np.asfortranarray(VALUES),
    "reversed": lambda: VALUES[::-1][::-1],
    "masked, with nothing masked": lambda: np.ma.masked_array(VALUES, mask=np.zeros(VALUES.shape, bool)),
    "a memory view": lambda: memoryview(VALUES),
    "Python's floats in lists": lambda: VALUES.tolist(),
    "arrays in a list": lambda: list(VALUES),
    "arrays in a tuple": lambda: tuple(VALUES),
    "a tensor": tensor,
    "a tensor that requires gradients": lambda: tensor(requires_grad=True),
    "a parameter": lambda: torch.nn.Parameter(tensor()),
    "a tensor of a graph": lambda: tensor(requires_grad=True) * 1,
    "tensors that require gradients in a list": lambda: list(tensor(requires_grad=True)),
    "a negated view": lambda: torch._neg_view(-tensor()),
    "something with __array__": OnlyArray,
    "something with __dlpack__": OnlyDlpack,
}


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN.keys())
def test_the_same_numbers_are_taken(make: Callable[..., Any]) -> None:
    found = check_input(make(), FLOATS)
    assert type(found) is np.ndarray
    assert found.dtype == np.dtype("=f4")
    assert found.flags.c_contiguous
    assert np.array_equal(found, VALUES)


@pytest.mark.parametrize(
    "images",
    [COARSE, list(COARSE), tensor().to(torch.bfloat16), tensor().to(torch.bfloat16).requires_grad_()],
    ids=["ml_dtypes", "ml_dtypes in a list", "torch", "torch with gradients"],
)
def test_bfloat16_becomes_float32_exactly(images: Any) -> None:
    assert np.array_equal(check_input(images, FLOATS), COARSE.astype(np.float32))


def test_float8_becomes_float32_exactly() -> None:
    coarse = VALUES.astype(ml_dtypes.float8_e4m3fn)
    assert np.array_equal(check_input(coarse, FLOATS), coarse.astype(np.float32))
    assert np.array_equal(check_input(tensor().to(torch.float8_e4m3fn), FLOATS), coarse.astype(np.float32))


def test_integers_and_floats_mixed_in_lists_are_floats() -> None:
    assert np.array_equal(check_input([[[[0, 0.5, 1], [0, 0, 0]]]], FLOATS), [[[[0, 0.5, 1], [0, 0, 0]]]])


def test_pythons_integers_are_pixels_where_they_fit() -> None:
    pixels = [[[[0], [1], [2]], [[3], [4], [255]]]]
    assert np.array_equal(check_input(pixels, PIXELS), np.array(pixels, np.uint8))


def test_a_table_is_taken_where_the_graph_takes_rows() -> None:
    assert np.array_equal(check_input(pd.DataFrame(VALUES.reshape(2, 6)), FLAT), VALUES.reshape(2, 6))


def test_a_mapped_file_is_taken_without_a_copy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert np.shares_memory(check_input(mapped, FLOATS), mapped)


def nested(depth: int) -> list[Any]:
    found: list[Any] = [0.5]
    for _ in range(depth):
        found = [found]
    return found


def archive() -> Any:
    stream = io.BytesIO()
    np.savez(stream, images=VALUES)
    stream.seek(0)
    return np.load(stream)


class Broken:
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        raise KeyError("odd")


REFUSED = {
    "masked": (lambda: np.ma.masked_greater(VALUES, 0.5), r"some elements are masked, .*images.filled\(value\)"),
    "masked, in a list": (lambda: list(np.ma.masked_greater(VALUES, 0.5)), "some elements are masked"),
    "bytes": (VALUES.tobytes, r"expected an array, found bytes; .*np.frombuffer"),
    "a bytearray": (lambda: bytearray(9), r"expected an array, found bytearray; .*np.frombuffer"),
    "a memory view of bytes": (lambda: memoryview(b"abc"), "expected float32, found uint8"),
    "a file name": (lambda: "cat.png", "expected an array, found str; .*read_images"),
    "a path": (lambda: Path("cat.png"), "expected an array, found PosixPath; .*read_images"),
    "a picture": (lambda: Image.new("RGB", (3, 2)), r"found picture \(PIL\); .*read_images"),
    "pictures": (lambda: [Image.new("RGB", (3, 2))], r"found picture \(PIL\); .*read_images"),
    "an archive": (archive, "found NpzFile; give one of its arrays"),
    "a dictionary": (lambda: {"images": VALUES}, "found dict; give one of its arrays"),
    "a generator": (lambda: (one for one in VALUES), "found generator; give a list or an array"),
    "an open file": (lambda: io.BytesIO(b"abc"), "found BytesIO; give a list or an array"),
    "None": (lambda: None, "found None; give an array"),
    "an object": (object, r"expected float32, found object \(Python objects\)"),
    "a list of None": (lambda: [None], "found None"),
    "a ragged list": (lambda: [[0.5], [0.5, 1.0]], "NumPy cannot read this list"),
    "a list in itself": (lambda: nested(5000), "nested more than 8 deep: give a NumPy array"),
    "an empty list": (list, "expected float32, found float64|expected shape"),
    "too large for float32": (lambda: [[[[1e300] * 3] * 2]], "expected float32, found float64"),
    "Python's integers": (lambda: [[[[1, 2, 3]] * 2]], "expected float32, found int64"),
    "a tensor of float64": (lambda: tensor().double(), r"found float64; cast them with images.astype"),
    "a tensor without memory": (lambda: tensor().to("meta"), "NumPy cannot read this torch.Tensor"),
    "a sparse tensor": (lambda: tensor().to_sparse(), "NumPy cannot read this torch.Tensor"),
    "complex": (lambda: VALUES.astype(complex), "expected float32, found complex128"),
    "what fails by itself": (Broken, "NumPy cannot read this .*Broken: .*odd"),
    "a table of objects": (lambda: pd.DataFrame({"a": ["x"]}), "expected float32, found"),
    "fields": (lambda: np.zeros(2, [("a", "<f4")]), "expected float32, found"),
    "a number": (lambda: np.float32(1), r"expected shape \[batch, 1, 2, 3\], found \[\]"),
    "no image": (lambda: VALUES[:0], "the batch is empty"),
    "an array of the standard library": (lambda: array.array("d", [1.0]), "found float64"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_such_meaning_is_refused_with_what_to_do(make: Callable[..., Any], message: str) -> None:
    with pytest.raises(RuntimeInputError, match=f"images: .*({message})") as caught:
        check_input(make(), FLOATS)
    assert len(str(caught.value)) < 500


def test_pixels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RuntimeInputError, match="expected uint8, found int64"):
        check_input([[[[0], [1], [2]], [[3], [4], [256]]]], PIXELS)


NO_MEMBERS = {
    "5000 digits": 10**5000,
    "5000 digits, negative": -(10**5000),
    "long text": "x" * 10_000,
    "bytes": b"1",
    "a float": 1.0,
    "an array": np.zeros(3),
    "an object": Broken(),
}


@pytest.mark.parametrize("member", NO_MEMBERS.values(), ids=NO_MEMBERS.keys())
def test_any_member_that_does_not_exist_is_our_error(member: Any) -> None:
    with pytest.raises(RuntimeInputError, match="member") as caught:
        check_member(member, 3)
    assert len(str(caught.value)) < 300


def test_a_member_may_be_a_tensor() -> None:
    assert check_member(torch.tensor(2), 3) == 2
    assert check_members(torch.tensor([2, 0]), 3) == (2, 0)


@pytest.mark.parametrize("members", [b"\0\1", np.array(1), np.zeros((2, 2), int), torch.tensor(1), 1], ids=repr)
def test_members_that_are_no_list_of_numbers_are_our_error(members: Any) -> None:
    with pytest.raises(RuntimeInputError, match="member"):
        check_members(members, 3)


@pytest.mark.parametrize(
    "given",
    [
        lambda images: np.broadcast_to(images, images.shape),
        lambda images: torch.tensor(images, requires_grad=True),
        lambda images: images.astype(">f4"),
        lambda images: images.tolist(),
    ],
    ids=["read-only", "gradients", "big-endian", "lists"],
)
def test_a_loaded_ensemble_predicts_from_them_as_from_an_array(
    ensemble: LoadedEnsemble, images: NDArray[np.float32], given: Callable[[Any], Any]
) -> None:
    assert np.array_equal(ensemble.predict(given(images), member=1), ensemble.predict(images, member=1))


NO_PATHS = [b"bundle", bytearray(b"bundle"), memoryview(b"bundle"), None, 3, io.BytesIO(), ["bundle"]]


@pytest.mark.parametrize("bundle", NO_PATHS, ids=lambda one: type(one).__name__)
def test_load_takes_a_path_and_says_so(bundle: Any) -> None:
    with pytest.raises(RuntimeInputError, match="bundle must be a path such as 'here/it/is', found .*os.fsdecode"):
        load(bundle)


def test_load_refuses_a_path_with_a_zero_byte() -> None:
    with pytest.raises(RuntimeInputError, match="found text with a zero byte"):
        load("a\0b")


@pytest.mark.parametrize("given", [[[0.0, 0.5]], [[0, 2]]], ids=["floats", "integers"])
def test_numbers_become_no_truth_values(given: list[list[float]]) -> None:
    with pytest.raises(RuntimeInputError, match=r"mask.*bool"):
        check_input(given, TensorSpec(name="mask", dtype="bool", shape=("batch", 2)))
