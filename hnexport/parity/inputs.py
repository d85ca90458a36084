"""Samples that find faults, for any signature: several kinds, any size, from an explicit seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hnexport.errors import SpecError
from hnexport.names import EXTREME
from hnexport.spec import Signature, TensorSpec

__all__ = [
    "EXAMPLE",
    "GIVEN",
    "LARGEST",
    "MOST_GIVEN",
    "PHOTOGRAPHS",
    "PROBE_KINDS",
    "Bounds",
    "Probes",
    "bounds_of",
    "given_inputs",
    "probe_inputs",
]

Array = NDArray[np.generic]
Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The least and the largest number of each element of a row."""

PHOTOGRAPHS = ("cat.png", "coffee.png")
PROBE_KINDS = ("noise", "photograph", "uniform", "faint", "constant", "glaring")
EXAMPLE = "example"
GIVEN = "given"
MOST_GIVEN = 64
"""Samples of a user's that a bundle keeps: the first ones."""

LARGEST = 1e4
"""The largest number that a floating-point input is probed with."""
_PIXEL_ZERO, _PIXEL_ONE = 128.0, 64.0  # a uint8 image has 0 there, and 1 so much above
_CHANNELS = (1, 3, 4)
_FAINT = 1e-3
_CONDITIONS = 2  # beside the example's
_NEAR = 0.9  # times a user's only condition: another one like it
_OVER_ALL = ("uniform", "faint", "glaring")  # of whole numbers: reach over all that the network takes
_FEW = 16  # so few numbers are all small
_LEAST_SIDE = 8  # of a flat image: shorter rows are features


@dataclass(frozen=True, kw_only=True, eq=False)
class Probes:
    """Samples of every input.

    Attributes:
        inputs: by name `[sample, …]` in the signature's dtype; of an input without a batch axis its one value.
        kinds: what each sample is, in words.
        conditions: others than those among the inputs, all by name.
    """

    inputs: Mapping[str, Array]
    kinds: tuple[str, ...]
    conditions: Sequence[Mapping[str, Array]] = ()


def probe_inputs(
    signature: Signature,
    examples: Mapping[str, ArrayLike],
    seed: int = 0,
    *,
    bounds: Mapping[str, Bounds] | None = None,
) -> Probes:
    """One sample of each kind: `PROBE_KINDS`, `extreme` for floating-point inputs, and the example that was given.

    `noise` is standard normal, `photograph` is one, about standardised, `uniform` is in [0, 1), `faint` and `glaring`
    are noise of scale 1e-3 and 30, `constant` is one value (of an image one a channel), `extreme` has sizes up to
    `LARGEST`. Images in uint8 get the same with 0 at 128 and 1 at 192, cut to 0 … 255. Other integers and booleans stay
    between bounds, an index beyond them may not exist: `uniform`, `faint` (as many of each size) and `glaring` (almost
    only ends) reach over all that the network takes, the least and the largest too; the others stay in the example's
    range, where that is more than one number.

    Args:
        examples: an array for each input by name, with or without samples that differ; sizes of axes of any size, and
            the values of inputs without a batch axis, are taken from it.
        bounds: by input what the network takes, see `hnexport.parity.whole_numbers`; by default the example's range.
    """
    arrays = {item.name: np.asarray(examples[item.name]).astype(item.dtype, copy=False) for item in signature.inputs}
    batched = [item for item in signature.inputs if item.has_batch]
    others = _conditions(signature, arrays, seed)
    if not batched:
        return Probes(inputs=arrays, kinds=(EXAMPLE,), conditions=others)
    kinds = list(PROBE_KINDS)
    if any(item.is_floating for item in batched):
        kinds.append(EXTREME)
    if any(arrays[item.name].size and np.ptp(arrays[item.name][0].astype(np.float64)) > 0 for item in batched):
        kinds.append(EXAMPLE)
    inputs = dict(arrays)
    for position, item in enumerate(batched):
        wide = (bounds or {}).get(item.name)
        inputs[item.name] = _samples(item, arrays[item.name], wide, kinds, [seed, position] if position else seed)
    return Probes(inputs=inputs, kinds=tuple(kinds), conditions=others)


def _conditions(signature: Signature, arrays: Mapping[str, Array], seed: int) -> tuple[Mapping[str, Array], ...]:
    """Further conditions: standard normal numbers, and some from 0 to the example's largest (to 1 where that is 0)."""
    random, found = np.random.default_rng([seed, 7]), []
    for draw in range(_CONDITIONS if signature.conditions else 0):
        values = {}
        for item in signature.of_generator:
            example = arrays[item.name]
            scale = float(np.abs(example).max(initial=0.0)) or 1.0
            shape = [int(size) for size in item.shape]
            numbers = random.standard_normal(shape) if draw == 0 else scale * random.random(shape)
            values[item.name] = np.asarray(numbers, dtype=item.dtype)
        found.append(values)
    return tuple(found)


def given_inputs(signature: Signature, samples: Mapping[str, ArrayLike], *, most: int | None = MOST_GIVEN) -> Probes:
    """A user's own samples, the first `most` of them, where random numbers make no sense to a network.

    Of a condition it is one value, or several, `[condition, …]`: then samples are run with the first, and some of them
    with each of the others.

    Raises:
        SpecError: they are not of these inputs: names, dtypes, shapes, or numbers of samples.
    """
    arrays, others = _divided(signature, {name: np.asarray(value) for name, value in samples.items()})
    names = [item.name for item in signature.inputs]
    if set(arrays) != set(names):
        raise SpecError(f"the samples are of {', '.join(arrays) or 'nothing'}, the network takes {', '.join(names)}")
    counts = {
        item.name: len(arrays[item.name]) for item in signature.inputs if item.has_batch and arrays[item.name].ndim
    }
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise SpecError(f"the samples have to be as many of every input, and at least one: {counts}")
    kept = {}
    for item in signature.inputs:
        array = arrays[item.name][:most] if item.has_batch else arrays[item.name]
        fits = len(array.shape) == len(item.shape) and all(
            isinstance(size, str) or size == own for size, own in zip(item.shape, array.shape, strict=True)
        )
        if array.dtype.name != item.dtype or not fits:
            shape = ", ".join(map(str, item.shape))
            found = f"{array.dtype.name} {list(array.shape)}"
            raise SpecError(f"the samples of {item.name} are {found}, the network takes {item.dtype} [{shape}]")
        kept[item.name] = np.ascontiguousarray(array)
    number = next(iter(counts.values()), 1)
    return Probes(inputs=kept, kinds=(GIVEN,) * (number if most is None else min(number, most)), conditions=others)


def _divided(
    signature: Signature, arrays: Mapping[str, Array]
) -> tuple[dict[str, Array], tuple[Mapping[str, Array], ...]]:
    """The samples with the first of their conditions, and the other conditions."""
    found = dict(arrays)
    several = {
        item.name: arrays[item.name]
        for item in signature.of_generator
        if item.name in arrays and arrays[item.name].ndim == len(item.shape) + 1 and len(arrays[item.name])
    }
    if len({len(array) for array in several.values()}) > 1:
        counts = ", ".join(f"{len(array)} of {name}" for name, array in several.items())
        raise SpecError(f"the samples have to hold as many of every condition: {counts}")
    found |= {name: array[0] for name, array in several.items()}
    first = {name: found[name] for name in signature.conditions if name in found}
    count = len(next(iter(several.values()))) if several else 1
    others = [
        {name: array[number] if array is not first[name] else array for name, array in {**first, **several}.items()}
        for number in range(1, min(count, MOST_GIVEN))
    ]
    near = {name: np.multiply(array, _NEAR, dtype=array.dtype) for name, array in first.items()}
    return found, tuple(others or ([near] if near else []))


def bounds_of(example: Array) -> Bounds:
    """The range of an example with a batch, the same for each element of a row."""
    row = example.shape[1:]
    least, most = (int(example.min()), int(example.max())) if example.size else (0, 0)
    return np.full(row, least, dtype=np.int64), np.full(row, most, dtype=np.int64)


def _samples(item: TensorSpec, example: Array, wide: Bounds | None, kinds: list[str], seed: int | list[int]) -> Array:
    """`[sample, …]` of one input."""
    row = example.shape[1:]
    image = _image_shape(row)
    patterns = _patterns(image or row, seed, is_image=image is not None)
    samples = []
    for kind in kinds:
        if kind == EXAMPLE:
            samples.append(example[0])
            continue
        pattern = patterns[kind] if image is None else _arranged(patterns[kind], row)
        samples.append(_typed(pattern, item, example, wide, kind, is_image=image is not None))
    return np.ascontiguousarray(np.stack(samples).astype(item.dtype))


def _typed(
    pattern: NDArray[np.float64], item: TensorSpec, example: Array, wide: Bounds | None, kind: str, *, is_image: bool
) -> Array:
    if item.is_floating:
        return pattern
    if item.dtype == "uint8" and is_image:
        return np.clip(np.round(_PIXEL_ZERO + _PIXEL_ONE * pattern), 0, 255)
    narrow = bounds_of(example)
    of_example = (narrow[0] < narrow[1]).any() and kind not in _OVER_ALL
    return _whole(pattern, narrow if wide is None or of_example else wide, kind)


def _whole(pattern: NDArray[np.float64], bounds: Bounds, kind: str) -> NDArray[np.int64]:
    """Whole numbers between bounds; of `faint` one is the least, of `glaring` one the largest."""
    least, most = bounds
    span = most - least
    if kind == "uniform":
        numbers = np.floor(pattern * (span + 1))
    elif kind == "faint":
        even = np.abs(pattern) / _FAINT % 1.0
        numbers = np.floor(np.where(span < _FEW, even * (span + 1), (span + 1.0) ** even - 1))
    else:
        numbers = np.clip(np.round(span * (0.5 + pattern / 4)), 0, span)
    found = np.asarray(least + numbers.astype(np.int64))
    if not found.size:
        return found
    if kind == "faint":
        found.flat[np.where(least == least.min(), pattern, np.inf).argmin()] = least.min()
    if kind == "glaring":
        found.flat[np.where(most == most.max(), pattern, -np.inf).argmax()] = most.max()
    return found


def _patterns(shape: tuple[int, ...], seed: int | list[int], *, is_image: bool) -> dict[str, NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    flat = (1, math.prod(shape[:-1]), *(shape[-1:] or (1,)))
    photograph = _photograph(shape if is_image else flat, np.sum(seed)).reshape(shape)  # type: ignore[arg-type]
    return {
        "noise": random.standard_normal(shape),
        "photograph": photograph,
        "uniform": random.random(shape),
        "faint": _FAINT * random.standard_normal(shape),
        "constant": np.broadcast_to(random.standard_normal((shape[0], 1, 1) if is_image else ()), shape),
        "glaring": 30.0 * random.standard_normal(shape),
        EXTREME: _extreme(random, shape),
    }


def _extreme(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Both signs, sizes from 1 to `LARGEST`, as many of each decade."""
    sizes = LARGEST ** random.random(shape)
    signs = np.where(random.random(shape) < 0.5, -1.0, 1.0)
    return np.asarray(sizes * (LARGEST / sizes.max(initial=1.0)) * signs)


def _image_shape(row: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Channel, height and width, where a row can be an image: three axes, or a flat one; None where it cannot."""
    if len(row) == 3:
        height, width, channels = row
        last = channels in _CHANNELS and height not in _CHANNELS
        return (channels, height, width) if last else row
    if len(row) == 1:
        for channels in (3, 1):
            side = math.isqrt(row[0] // channels)
            if side >= _LEAST_SIDE and channels * side * side == row[0]:
                return channels, side, side
    return None


def _arranged(image: NDArray[np.float64], row: tuple[int, ...]) -> NDArray[np.float64]:
    """`[channel, height, width]` with its axes in the order of the row: flat images have their channels last."""
    if len(row) == 3 and image.shape == row:
        return image
    return image.transpose(1, 2, 0).reshape(row)


def _photograph(shape: tuple[int, int, int], seed: int) -> NDArray[np.float64]:
    """A photograph (CC0, from scikit-image's samples) of the given shape, about standardised."""
    channels, height, width = shape
    name = PHOTOGRAPHS[seed % len(PHOTOGRAPHS)]
    with resources.as_file(resources.files(__package__) / "photographs" / name) as path, Image.open(path) as photograph:
        pixels = np.asarray(photograph.convert("L" if channels == 1 else "RGB").resize((width, height)), np.float64)
    planes = pixels.reshape(height, width, -1).transpose(2, 0, 1)
    return (planes[[channel % len(planes) for channel in range(channels)]] / 255.0 - 0.5) / 0.25
