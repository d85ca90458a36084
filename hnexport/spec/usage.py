"""What whoever uses an ensemble has to know beside its tensors: it comes from the training, and no tensor says it."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING
from unicodedata import category

from hnexport.reading import shown
from hnexport.spec.checks import require, require_tuple
from hnexport.spec.tensors import OutputKind, Signature

if TYPE_CHECKING:
    from hnexport.spec.images import ImageInput

__all__ = ["NORMALISATION", "Normalisation", "Usage"]

NORMALISATION = "normalisation"
"""What `Usage.assumed` calls that images are normalised as in training before they reach the graph."""

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_WORD = re.compile(r"[a-z][a-z-]{0,63}")
_MOST_LETTERS = 200
_JOINERS = "\u200c\u200d"
"""What words of Persian and Hindi, and some emoji, are written with."""
_LARGEST = 1e30
_MOST_WORDS = 32


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a float32 graph's pictures need beside `pixel / 255`: the network takes `(pixel / 255 - mean) / std`.

    One mean and one std for each channel, or one for all. 0 and 1 say that the network was trained on `pixel / 255`.

    Attributes:
        mean: one for each channel, or one for all.
        std: one for each channel, or one for all; positive.

    Raises:
        SpecError: a std is not positive, or a number is not finite.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        require_tuple("mean", self.mean)
        require_tuple("std", self.std)
        found = f"found mean {self.mean}, std {self.std}"
        require(bool(self.mean) and bool(self.std), f"mean and std need 1 number, or one a channel, {found}")
        require(all(isinstance(one, Real) for one in (*self.mean, *self.std)), f"mean and std are numbers, {found}")
        fits = all(map(math.isfinite, (*self.mean, *self.std))) and all(value > 0 for value in self.std)
        require(fits, f"mean and std must be finite and std positive, {found}")
        within = all(abs(value) <= _LARGEST for value in (*self.mean, *self.std)) and min(self.std) >= 1 / _LARGEST
        require(
            within, f"mean goes to {_LARGEST:g} and std from {1 / _LARGEST:g} to that, as float32 needs it, {found}"
        )
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))  # numpy's numbers are no JSON
        object.__setattr__(self, "std", tuple(map(float, self.std)))

    def check_channels(self, channels: int) -> None:
        """Raise a SpecError where mean or std have neither one number nor one for each of so many channels."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            require(
                len(values) in (1, channels),
                f"{name} needs 1 or {channels} numbers, one a channel, found {len(values)}",
            )


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What whoever uses an ensemble has to know beside its tensors.

    Attributes:
        normalisation: of pictures, before they reach a float32 image input. None where nobody said it, where the graph
            takes uint8 and normalises itself, or where there are no pictures.
        class_names: for outputs of logits by name, the classes in their order, each of 1 to 200 letters.
        license: under which the weights are given, an SPDX identifier such as `apache-2.0`; None where nobody said it.
        assumed: what nobody said and an import assumed, a word each; see `hnexport.spec.assumed`.

    Raises:
        SpecError: a name is empty or has several lines, `license` is no identifier, or `assumed` holds no words.
    """

    normalisation: Normalisation | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    license: str | None = None
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        found = self.normalisation
        require(found is None or isinstance(found, Normalisation), f"{shown(found)} is no Normalisation(mean=…, std=…)")
        require(isinstance(self.class_names, Mapping), f"class_names are by output, found {shown(self.class_names)}")
        for output, names in self.class_names.items():
            require_tuple(f"the class names of {output}", names)
            for name in names:
                wrong = _wrong_name(name)
                require(not wrong, f"{shown(name)} is no name of a class: {wrong}")
        if self.license is not None:
            require(
                isinstance(self.license, str) and _LICENSE.fullmatch(self.license) is not None,
                f"{shown(self.license)} is no SPDX identifier of a licence; one is for instance apache-2.0",
            )
        require_tuple("assumed", self.assumed)
        words = len(set(self.assumed)) == len(self.assumed) <= _MOST_WORDS and all(map(_WORD.fullmatch, self.assumed))
        require(words, f"assumed: expected at most {_MOST_WORDS} different words, found {shown(list(self.assumed))}")
        object.__setattr__(self, "class_names", dict(self.class_names))  # no view: records are pickled and copied

    def updated(self, said: "Usage") -> "Usage":
        """What is said now wins, the rest stays; a normalisation that is said is not assumed."""
        normalisation = said.normalisation or self.normalisation
        assumed = dict.fromkeys((*self.assumed, *said.assumed))
        return Usage(
            normalisation=normalisation,
            class_names={**self.class_names, **said.class_names},
            license=said.license or self.license,
            assumed=tuple(word for word in assumed if normalisation is None or word != NORMALISATION),
        )

    def normalised_within(self) -> "Usage":
        """The same of a graph that takes pixels and normalises them itself."""
        assumed = tuple(word for word in self.assumed if word != NORMALISATION)
        return dataclasses.replace(self, normalisation=None, assumed=assumed)

    def confirmed(self) -> "Usage":
        """The same of a graph that computes what the trained model does: only what happens before it is assumed."""
        return dataclasses.replace(self, assumed=tuple(word for word in self.assumed if word == NORMALISATION))

    def check(self, signature: Signature, image: "ImageInput | None") -> None:
        """Raise a SpecError where something cannot be said of an ensemble.

        Class names are of an output of logits with that many classes, mean and std have one number or one for each
        channel, and belong to pictures before they reach a float32 input.

        Args:
            image: the input that takes images, where there is one whose channels are known.
        """
        self._check_normalisation(signature, image)
        for name, names in self.class_names.items():
            output = signature.output(name)
            require(output.kind is OutputKind.LOGITS, f"{name} is a value: it has no classes to name")
            classes = output.shape[output.axis or 0]
            require(len(names) == classes, f"{name} has {classes} classes, found {len(names)} names of them")

    def _check_normalisation(self, signature: Signature, image: "ImageInput | None") -> None:
        if self.normalisation is None:
            return
        if image is not None:
            name, dtype = image.tensor.name, image.tensor.dtype
            require(
                dtype == "float32", f"{name} is {dtype}: the graph normalises pixels itself, mean and std are in it"
            )
            self.normalisation.check_channels(image.channels)
            return
        fits = any(tensor.dtype == "float32" and len(tensor.shape) == 4 for tensor in signature.inputs)
        require(fits, "mean and std are of pictures, and no input takes any: one is float32 and has four axes")


def _wrong_name(name: object) -> str:
    """Why something is no name of a class; "" where it is one."""
    if not isinstance(name, str):
        return "it is no text"
    if name.strip() != name or not 0 < len(name) <= _MOST_LETTERS:
        return f"expected 1 to {_MOST_LETTERS} letters, without spaces around them"
    hidden = next((one for one in name if not (one.isprintable() or one in _JOINERS or category(one) == "Zs")), None)
    return "" if hidden is None else f"the character {hidden!a} in it shows nothing: leave it out"
