"""What the ensembles learn, and which images train, choose and judge.

A fold is five parts of the images, or as many as are asked for. One of them is reported. The parts after it choose the
order of members and the threshold; what is left trains, and calibrates int8. So no image that is reported had any part
in what answers it, and over all folds each image is reported once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TASKS", "Fold", "Task", "folds"]

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

NOISE, HIDDEN = 40.0, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Images and what they are.

    Attributes:
        images: uint8 `[image, height, width, channel]`.
        labels: `[image]`.
    """

    images: Images = field(repr=False)
    labels: Labels = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """Numbers of images, none of them in two of these."""

    train: Labels
    choose: Labels
    report: Labels


def folds(labels: Labels, number: int, choosing: int, seed: int) -> Iterator[Fold]:
    """Each class in equal shares in each of `number` parts, of which `choosing` choose.

    Raises:
        ValueError: nothing would be left to train with.
    """
    from sklearn.model_selection import StratifiedKFold

    if not 1 <= choosing <= number - 2:
        raise ValueError(f"of {number} parts one is reported and one at least trains: {choosing} cannot choose")
    split = StratifiedKFold(number, shuffle=True, random_state=seed).split(labels, labels)
    parts = [part for _, part in split]
    for first in range(number):
        report, *others = (parts[(first + step) % number] for step in range(number))
        chosen, rest = np.concatenate(others[:choosing]), np.concatenate(others[choosing:])
        yield Fold(train=np.sort(rest), choose=np.sort(chosen), report=report)


def digits(seed: int) -> Task:
    """The 1,797 digits of scikit-learn, as examples/train_digits.py has them."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    pixels = np.round(found.images / 16 * 255).astype(np.uint8)
    return Task(images=pixels[..., np.newaxis], labels=found.target.astype(np.int64))


def noisy_digits(seed: int) -> Task:
    """The same with noise in every pixel and a dark square somewhere, drawn once: so that one member is often wrong."""
    clean, random = digits(seed), np.random.default_rng(seed)
    images = clean.images.astype(np.float64)
    images += random.normal(0.0, NOISE, images.shape)
    for image in images:
        top, left = random.integers(0, image.shape[0] - HIDDEN + 1, size=2)
        image[top : top + HIDDEN, left : left + HIDDEN] = 0.0
    return Task(images=np.clip(np.round(images), 0, 255).astype(np.uint8), labels=clean.labels)


TASKS: Mapping[str, Callable[[int], Task]] = {"digits": digits, "noisy-digits": noisy_digits}
