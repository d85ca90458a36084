"""What whoever uses an ensemble has to know beside it."""

import copy
import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hnexport.bundle.manifest import Manifest
from hnexport.errors import SpecError
from hnexport.records import from_json, to_json
from hnexport.spec import OutputKind, OutputSpec, Signature, TensorSpec
from hnexport.spec.assumed import Assumed, assumptions
from hnexport.spec.images import ImageInput
from hnexport.spec.usage import NORMALISATION, Normalisation, Usage

SIGNATURE = Signature(
    inputs=(TensorSpec(name="image", dtype="float32", shape=("batch", 3, 8, 8)),),
    outputs=(
        OutputSpec(name="logits", dtype="float32", shape=("batch", 2), kind=OutputKind.LOGITS, axis=1),
        OutputSpec(name="size", dtype="float32", shape=("batch", 2)),
    ),
)
USAGE = Usage(
    normalisation=Normalisation(mean=(0.5,), std=(0.25,)),
    class_names={"logits": ("cat", "a dog")},
    license="apache-2.0",
    assumed=("image-size",),
)


def test_what_is_known_survives_json() -> None:
    assert from_json(Usage, to_json(USAGE)) == USAGE


def test_a_manifest_of_which_nothing_is_said_is_written_as_before() -> None:
    usage = next(field for field in dataclasses.fields(Manifest) if field.name == "usage")
    assert usage.metadata["sparse"]
    assert usage.default == Usage()


BAD_CLASS_NAMES = {
    "too few": ({"logits": ("cat",)}, "logits has 2 classes, found 1 names"),
    "of a value": ({"size": ("a", "b")}, "size is a value: it has no classes"),
    "of nothing": ({"score": ("a", "b")}, "there is no output 'score'"),
}


@pytest.mark.parametrize(("names", "message"), BAD_CLASS_NAMES.values(), ids=BAD_CLASS_NAMES.keys())
def test_class_names_that_are_not_those_of_the_network_are_refused(names: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Usage(class_names=names).check(SIGNATURE, ImageInput.guess(SIGNATURE.inputs[0]))


def test_what_is_said_later_wins_and_the_rest_stays() -> None:
    said = USAGE.updated(Usage(license="mit", class_names={"size": ("x",)}, assumed=("assembly",)))
    assert said == Usage(
        normalisation=USAGE.normalisation,
        class_names={"logits": ("cat", "a dog"), "size": ("x",)},
        license="mit",
        assumed=("image-size", "assembly"),
    )


def test_a_normalisation_that_is_said_is_not_assumed() -> None:
    before = Usage(assumed=("image-size", NORMALISATION))
    assert before.updated(Usage(license="mit")).assumed == before.assumed
    assert before.updated(Usage(normalisation=Normalisation())).assumed == ("image-size",)
    assert before.normalised_within() == Usage(assumed=("image-size",))
    assert USAGE.normalised_within().normalisation is None


def test_a_graph_that_computes_what_the_trained_model_does_leaves_only_the_pictures_open() -> None:
    assert Usage(assumed=("image-size", NORMALISATION, "assembly")).confirmed() == Usage(assumed=(NORMALISATION,))


def test_numbers_may_be_numpys() -> None:
    said = Normalisation(mean=(np.float32(0.5),), std=tuple(np.array([0.25, 0.5], np.float32)))
    assert json.loads(json.dumps(to_json(said))) == {"mean": [0.5], "std": [0.25, 0.5]}


def test_it_can_be_copied_and_pickled() -> None:
    assert copy.deepcopy(USAGE) == pickle.loads(pickle.dumps(USAGE)) == USAGE


BAD_NORMALISATIONS = {
    "channels": ("image", "float32", ("batch", 3, 8, 8), "std needs 1 or 3 numbers, one a channel, found 2"),
    "pixels": ("image", "uint8", ("batch", 8, 8, 3), "image is uint8: the graph normalises pixels itself"),
    "no pictures": ("rows", "float32", ("batch", 3), "no input takes any"),
    "tokens": ("tokens", "int64", ("batch", 3, 8, 8), "no input takes any"),
}


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "message"), BAD_NORMALISATIONS.values(), ids=BAD_NORMALISATIONS.keys()
)
def test_a_normalisation_that_does_not_fit_the_input_is_refused(
    name: str, dtype: str, shape: tuple[Any, ...], message: str
) -> None:
    tensor = TensorSpec(name=name, dtype=dtype, shape=shape)
    signature = dataclasses.replace(SIGNATURE, inputs=(tensor,))
    usage = Usage(normalisation=Normalisation(std=(0.5, 0.5)))
    with pytest.raises(SpecError, match=message):
        usage.check(signature, ImageInput.guess(tensor))


def test_pictures_of_any_size_may_have_a_normalisation() -> None:
    tensor = TensorSpec(name="image", dtype="float32", shape=("batch", 3, "height", "width"))
    signature = dataclasses.replace(SIGNATURE, inputs=(tensor,))
    Usage(normalisation=Normalisation(mean=(0.1, 0.2, 0.3))).check(signature, ImageInput.guess(tensor))


def test_each_word_has_a_line_and_an_unknown_one_stands_for_itself() -> None:
    image = ImageInput.guess(SIGNATURE.inputs[0])
    size, *others = assumptions(Usage(normalisation=Normalisation(), assumed=(*Assumed, "colour")), image)
    assert size.startswith("images of 8x8, since no tensor shows their height and width; image_height=… and")
    assert [line.split(";")[0] for line in others] == [
        "images that are normalised as in training before they reach the graph",
        "tensors that are put together in the order of hypnettorch's own containers",
        "an output layer with bias, since one without it and of more classes has as many numbers",
        "colour",
    ]


def test_of_a_float32_image_nobody_spoke_of_the_normalisation_is_assumed() -> None:
    image = ImageInput.guess(SIGNATURE.inputs[0])
    (line,) = assumptions(Usage(), image)
    assert line.endswith("Usage(normalisation=Normalisation(…)) says how")
    assert assumptions(Usage(normalisation=Normalisation()), image) == ()
    assert assumptions(Usage(), None) == ()


NUMBERS: Any = {"logits": (0, 1)}
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "words": (lambda: Usage(assumed=("Image Size",)), r"at most 32 different words, found \['Image Size'\]"),
    "a word twice": (lambda: Usage(assumed=("a", "a")), r"found \['a', 'a'\]"),
    "many words": (lambda: Usage(assumed=tuple("a" * n for n in range(1, 34))), r"at most 32 different words"),
    "two lines": (lambda: Usage(class_names={"logits": ("a\nb", "c")}), r"'\\n' in it shows nothing"),
    "no letters": (lambda: Usage(class_names={"logits": ("", "c")}), r"expected 1 to 200 letters"),
    "licence": (lambda: Usage(license="all rights: mine"), r"no SPDX identifier"),
    "no numbers": (lambda: Normalisation(mean=()), r"mean and std need 1 number"),
    "nan": (lambda: Normalisation(mean=(math.nan,)), r"must be finite"),
    "std of zero": (lambda: Normalisation(std=(0.0,)), r"std positive"),
    "std that float32 has not": (lambda: Normalisation(std=(1e-45,)), r"as float32 needs it"),
    "mean that float32 has not": (lambda: Normalisation(mean=(1e300,)), r"as float32 needs it"),
    "text for numbers": (lambda: Normalisation(mean=("0.5",)), r"mean and std are numbers"),
    "a pair for a normalisation": (lambda: Usage(normalisation=(0.5, 0.5)), r"is no Normalisation"),
    "names that are numbers": (lambda: Usage(class_names=NUMBERS), r"0 is no name of a class: it is no text"),
    "names without an output": (lambda: Usage(class_names=[("logits", ("a", "b"))]), r"class_names are by output"),
    "a licence that is no text": (lambda: Usage(license=1), r"1 is no SPDX identifier"),
    "the direction of writing": (
        lambda: Usage(class_names={"logits": ("\u202ecat", "dog")}),
        r"'.u202e' in it shows nothing",
    ),
}


def test_names_are_those_of_any_language_and_one_that_hides_something_is_refused_with_what() -> None:
    names = ("\u0645\u06cc\u200c\u062e", "\u0915\u094d\u200d\u0937", "New\u00a0York", "東京\u3000都", "👨\u200d👩")
    assert Usage(class_names={"logits": names}).class_names["logits"] == names
    with pytest.raises(
        SpecError, match=r"no name of a class: the character '\\u202e' in it shows nothing: leave it out"
    ):
        Usage(class_names={"logits": ("\u202ecat",)})
    with pytest.raises(SpecError, match="expected 1 to 200 letters, without spaces around them"):
        Usage(class_names={"logits": ("cat ",)})


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()


def test_it_is_copied_and_pickled_as_manifests_are() -> None:
    assert copy.deepcopy(USAGE) == USAGE
    assert pickle.loads(pickle.dumps(USAGE)) == USAGE
    assert dataclasses.asdict(USAGE)["class_names"] == USAGE.class_names
