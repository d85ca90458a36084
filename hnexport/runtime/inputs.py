"""What a loaded ensemble takes: samples by the names of the signature, checked before any runtime sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown
from hnexport.runtime.arrays import Wanted, as_array
from hnexport.spec import Signature, TensorSpec
from hnexport.text import shorten

__all__ = ["NOT_GIVEN", "check_dtype", "check_input", "check_inputs", "check_shape", "is_image", "sample_word"]

Array = NDArray[Any]

NOT_GIVEN = object()
"""In the place of a value: the inputs are given by their names."""

_IMAGE_NAMES = ("image", "images")
_CHANNELS = (1, 3, 4)


def is_image(tensor: TensorSpec) -> bool:
    """Whether an input takes images: it says so by its name, or by the shape and dtype of pixels."""
    if tensor.name in _IMAGE_NAMES:
        return True
    shaped = (
        len(tensor.shape) == 4 and tensor.has_batch and (tensor.shape[1] in _CHANNELS or tensor.shape[3] in _CHANNELS)
    )
    return shaped and (tensor.is_floating or tensor.dtype == "uint8")


def sample_word(signature: Signature) -> str:
    """What one sample is called in messages: "image" where the only input takes images, otherwise "sample"."""
    return "image" if len(signature.inputs) == 1 and is_image(signature.inputs[0]) else "sample"


def check_inputs(
    given: Any, named: Mapping[str, Any], signature: Signature, asked: tuple[TensorSpec, ...] | None = None
) -> dict[str, Array]:
    """The inputs by name, each as `check_input` gives it, after sizes that share a name were found to agree.

    Args:
        given: a mapping with every input, or the value of the only one; `NOT_GIVEN` where they are in `named`.
        named: by name, or empty. The only input of a network that takes images may be called `images`.
        asked: some of the signature's inputs; None for all.

    Raises:
        RuntimeInputError: an input is missing, unknown or given twice, or as `check_input`, or sizes do not agree.
    """
    tensors = signature.inputs if asked is None else asked
    names = [tensor.name for tensor in tensors]
    values = _by_name(given, named, tensors)
    unknown = next((name for name in values if name not in names), None)
    missing = next((name for name in names if name not in values), None)
    if unknown is not None or missing is not None:
        wrong = [] if missing is None else [f"the input {missing!r} is missing"]
        wrong += [] if unknown is None else [f"there is no input {shown(unknown)}"]
        what = "this network takes" if asked is None else "its weights are made of"
        raise RuntimeInputError(f"{', '.join(wrong)}: {what} {', '.join(names) or 'no inputs'}")
    checked = {tensor.name: check_input(values[tensor.name], tensor) for tensor in tensors}
    _check_open_sizes(checked, tensors)
    return checked


def _by_name(given: Any, named: Mapping[str, Any], tensors: Sequence[TensorSpec]) -> Mapping[str, Any]:
    if given is NOT_GIVEN:
        alone = tensors[0].name if len(tensors) == 1 else ""
        return {alone: named["images"]} if alone in _IMAGE_NAMES and set(named) == {"images"} else named
    if named:
        raise RuntimeInputError("give the inputs either in one argument or by their names, not both")
    if isinstance(given, Mapping):
        return given
    if len(tensors) != 1:
        names = ", ".join(f"{tensor.name!r}: …" for tensor in tensors)
        raise RuntimeInputError(f"this network takes {len(tensors)} inputs: give them by name, {{{names}}}")
    return {tensors[0].name: given}


def _check_open_sizes(arrays: Mapping[str, Array], tensors: Sequence[TensorSpec]) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for tensor in tensors:
        for axis, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True):
            if isinstance(axis, int):
                continue
            first, expected = seen.setdefault(axis, (tensor.name, size))
            if size != expected:
                raise RuntimeInputError(
                    f"the inputs have different sizes of the axis {axis!r}: {first} has {expected}, "
                    f"{tensor.name} has {size}"
                )


def check_input(given: Any, tensor: TensorSpec) -> Array:
    """One input as a C-contiguous array of exactly the signature's dtype.

    Arrays, lists, and whatever has `__array__` or `__dlpack__` are taken; tensors that require gradients are detached,
    those on a device are copied from it, masked arrays are taken where nothing is masked.

    Only casts that lose nothing and leave the meaning alone are made: to a float or an integer that holds every value
    of the dtype, float16 and bfloat16 to float32 for instance, other byte orders, and Python's own numbers, which have
    no dtype. float64 arrays are refused where the graph takes float32 (casting them is the caller's decision), and so
    are integers where it takes floats: pixel values 0 to 255 are not what such a network was trained on. NaN is passed
    on.

    Raises:
        RuntimeInputError: another dtype or shape, or an empty batch; the message says what was expected.
    """
    expected = np.dtype(tensor.dtype)
    if _is_ready(given, expected, tensor):
        return cast("Array", given)
    wanted = Wanted(
        dtype=expected,
        subject=_subject(tensor),
        name=_variable(tensor),
        whole_become_floats=not is_image(tensor),
    )
    array = as_array(given, wanted)
    check_dtype(array.dtype, tensor)
    check_shape(array.shape, tensor)
    return np.asarray(
        array, dtype=tensor.dtype, order="C"
    )  # unlike ascontiguousarray it leaves an array of no axis alone


def _is_ready(given: Any, expected: np.dtype[Any], tensor: TensorSpec) -> bool:
    """Whether there is nothing to do and to refuse: what most calls give, and a small network's call is short."""
    return (
        type(given) is np.ndarray
        and given.dtype == expected
        and given.flags.c_contiguous
        and given.size > 0
        and _fits(given.shape, tensor.shape)
    )


def _subject(tensor: TensorSpec) -> str:
    if is_image(tensor):
        return "images"
    return f"samples of {tensor.name}" if tensor.has_batch else tensor.name


def _variable(tensor: TensorSpec) -> str:
    return "images" if is_image(tensor) else tensor.name


def check_dtype(found: np.dtype[Any], tensor: TensorSpec, subject: str = "") -> None:
    """Refuse a dtype that is not the signature's and cannot become it without loss.

    Args:
        subject: how the message begins, where that is not what the input is called.

    Raises:
        RuntimeInputError: with what to do.
    """
    expected = np.dtype(tensor.dtype)
    same = found.kind == expected.kind or (found.kind, expected.kind) == ("u", "i")
    if np.can_cast(found, expected, "safe") and (same or _is_small_float(found, expected)):
        return
    name, image = _variable(tensor), is_image(tensor)
    if expected.kind == "f" and found.kind == "f":
        hint = f"; cast them with {name}.astype(np.{expected})"
    elif image and expected.kind == "f" and found.kind in "ui":
        hint = (
            "; this graph takes preprocessed images: scale and normalise the pixels as in training, "
            "for instance (pixels / 255 - mean) / std"
        )
    elif image and expected.kind == "u" and found.kind == "f":
        hint = "; this graph normalises by itself: give it the pixels, 0 to 255"
    elif found.kind == "O":
        hint = f" (Python objects); give an array of numbers, for instance np.asarray({name}, dtype=np.{expected})"
    elif found == np.dtype("V2"):
        hint = "; if these are bfloat16, which .npy files do not name, save them as float32"
    elif not image and found.kind in "iuf" and expected.kind in "iuf":
        hint = f"; if they are the values that it was trained on, cast them with {name}.astype(np.{expected})"
    else:
        hint = ""
    raise RuntimeInputError(f"{subject or _subject(tensor)}: expected {expected}, found {shorten(found)}{hint}")


def _is_small_float(found: np.dtype[Any], expected: np.dtype[Any]) -> bool:
    """Of the kinds that ml_dtypes adds to NumPy: bfloat16, float8_e4m3 and the like; JAX gives such arrays."""
    return expected.kind == "f" and found.kind == "V" and found.name.startswith(("bfloat", "float"))


def check_shape(found: tuple[int, ...], tensor: TensorSpec, subject: str = "") -> None:
    """Refuse another shape than the signature's, and a batch without samples.

    Args:
        subject: as for `check_dtype`.

    Raises:
        RuntimeInputError: with what to do.
    """
    subject, word = subject or _subject(tensor), "image" if is_image(tensor) else "sample"
    if _fits(found, tensor.shape):
        if tensor.has_batch and found[0] == 0:
            raise RuntimeInputError(f"{subject}: the batch is empty; give at least one {word}")
        return
    hint = ""
    if tensor.has_batch and _fits(found, tensor.row):
        hint = f"; for one {word} give {_variable(tensor)}[np.newaxis]"
    elif is_image(tensor):
        hint = _moved_channels(found, tensor.row)
    axes = ", ".join(map(str, tensor.shape))
    raise RuntimeInputError(f"{subject}: expected shape [{axes}], found {shown(list(found))}{hint}")


def _fits(found: tuple[int, ...], expected: tuple[int | str, ...]) -> bool:
    return len(found) == len(expected) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(expected, found, strict=True)
    )


def _moved_channels(found: tuple[int, ...], sizes: tuple[int | str, ...]) -> str:
    """Advice for images with their channels first where they belong last, and the other way round."""
    if len(found) == 4 and len(sizes) == 3:
        if found[1:] == (sizes[1], sizes[2], sizes[0]):
            return "; move the channels with images.transpose(0, 3, 1, 2)"
        if found[1:] == (sizes[2], sizes[0], sizes[1]):
            return "; move the channels with images.transpose(0, 2, 3, 1)"
    elif len(found) == 3 and found in ((*sizes[1:], sizes[0]), (sizes[-1], *sizes[:-1])):
        moved = "(2, 0, 1)" if found == (*sizes[1:], sizes[0]) else "(1, 2, 0)"
        return f"; move the channels with images.transpose{moved}, and for one image add [np.newaxis]"
    return ""
