"""Images: which casts are made, and what is said where none is."""

from typing import Any

import numpy as np
import pytest

from hnexport.errors import RuntimeInputError
from hnexport.members import check_members
from hnexport.runtime.inputs import check_input
from hnexport.spec import TensorSpec

NCHW = TensorSpec(name="image", dtype="float32", shape=("batch", 3, 8, 10))
NHWC = TensorSpec(name="image", dtype="uint8", shape=("batch", 8, 10, 3))


@pytest.mark.parametrize("dtype", ["float32", "float16", ">f4"])
def test_a_cast_that_loses_nothing_is_made(dtype: str) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 10)).astype(dtype)
    checked = check_input(images, NCHW)
    assert checked.dtype == np.dtype("float32")
    assert np.array_equal(checked, images)


def test_images_of_the_right_kind_are_not_copied() -> None:
    images = np.zeros((2, 3, 8, 10), np.float32)
    assert np.shares_memory(check_input(images, NCHW), images)


BAD = {
    "float64": (
        NCHW,
        (2, 3, 8, 10),
        "float64",
        r"expected float32, found float64; cast them with images.astype\(np.float32\)",
    ),
    "uint8 for float32": (
        NCHW,
        (2, 3, 8, 10),
        "uint8",
        r"expected float32, found uint8; .*\(pixels / 255 - mean\) / std",
    ),
    "int64": (NCHW, (2, 3, 8, 10), "int64", "expected float32, found int64; this graph takes preprocessed images"),
    "bool": (NCHW, (2, 3, 8, 10), "bool", "expected float32, found bool"),
    "float32 for uint8": (
        NHWC,
        (2, 8, 10, 3),
        "float32",
        "expected uint8, found float32; .* give it the pixels, 0 to 255",
    ),
    "int8 for uint8": (NHWC, (2, 8, 10, 3), "int8", "expected uint8, found int8"),
    "an empty batch": (NCHW, (0, 3, 8, 10), "float32", "the batch is empty"),
    "one image": (NCHW, (3, 8, 10), "float32", r"expected shape \[batch, 3, 8, 10\], found \[3, 8, 10\]; .*np.newaxis"),
    "channels last": (NCHW, (2, 8, 10, 3), "float32", r"found \[2, 8, 10, 3\]; .*transpose\(0, 3, 1, 2\)"),
    "channels first": (NHWC, (2, 3, 8, 10), "uint8", r"found \[2, 3, 8, 10\]; .*transpose\(0, 2, 3, 1\)"),
    "one image, channels last": (NCHW, (8, 10, 3), "float32", r"transpose\(2, 0, 1\), and for one .*np.newaxis"),
    "one image, channels first": (NHWC, (3, 8, 10), "uint8", r"transpose\(1, 2, 0\), and for one .*np.newaxis"),
    "another size": (NCHW, (2, 3, 9, 10), "float32", r"expected shape \[batch, 3, 8, 10\], found \[2, 3, 9, 10\]$"),
    "flat": (NCHW, (2, 240), "float32", r"found \[2, 240\]$"),
}


@pytest.mark.parametrize(("signature", "shape", "dtype", "message"), BAD.values(), ids=BAD.keys())
def test_images_that_the_graph_does_not_take_are_refused(
    signature: TensorSpec, shape: tuple[int, ...], dtype: str, message: str
) -> None:
    with pytest.raises(RuntimeInputError, match=message):
        check_input(np.zeros(shape, dtype), signature)


def test_the_transpose_that_an_error_suggests_is_right() -> None:
    for signature, axes in ((NCHW, (0, 3, 1, 2)), (NHWC, (0, 2, 3, 1))):
        other = NHWC if signature is NCHW else NCHW
        sizes: tuple[Any, ...] = other.shape[1:]
        images = np.zeros((2, *sizes), signature.dtype)
        assert check_input(images.transpose(axes), signature).shape[1:] == signature.shape[1:]


def test_members_may_be_any_iterable_of_whole_numbers() -> None:
    assert check_members(np.array([2, 0]), 3) == (2, 0)
    assert check_members((one for one in (1, 1)), 3) == (1, 1)
    assert check_members("all", 3) == (0, 1, 2)


def test_an_ensemble_of_one_says_so() -> None:
    with pytest.raises(RuntimeInputError, match="member 1 does not exist: this ensemble has only member 0"):
        check_members([1], 1)
