"""What whoever uses an ensemble has to know beside it."""

import copy
import dataclasses
import math
import pickle

import pytest

from hnexport.bundle.manifest import Manifest
from hnexport.errors import SpecError
from hnexport.records import from_json, to_json
from hnexport.spec import OutputKind, OutputSpec, Signature, TensorSpec
from hnexport.spec.images import ImageInput
from hnexport.spec.usage import Normalisation, Usage

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


def test_what_is_known_survives_json():
    assert from_json(Usage, to_json(USAGE)) == USAGE


def test_a_manifest_of_which_nothing_is_said_is_written_as_before():
    usage = next(field for field in dataclasses.fields(Manifest) if field.name == "usage")
    assert usage.metadata["sparse"]
    assert usage.default == Usage()


BAD_CLASS_NAMES = {
    "too few": ({"logits": ("cat",)}, "logits has 2 classes, found 1 names"),
    "of a value": ({"size": ("a", "b")}, "size is a value: it has no classes"),
    "of nothing": ({"score": ("a", "b")}, "there is no output 'score'"),
}


@pytest.mark.parametrize(("names", "message"), BAD_CLASS_NAMES.values(), ids=BAD_CLASS_NAMES.keys())
def test_class_names_that_are_not_those_of_the_network_are_refused(names, message):
    with pytest.raises(SpecError, match=message):
        Usage(class_names=names).check(SIGNATURE, ImageInput.guess(SIGNATURE.inputs[0]))


BAD = {
    "two lines": lambda: Usage(class_names={"logits": ("a\nb", "c")}),
    "no letters": lambda: Usage(class_names={"logits": ("", "c")}),
    "licence": lambda: Usage(license="all rights: mine"),
    "no numbers": lambda: Normalisation(mean=()),
    "nan": lambda: Normalisation(mean=(math.nan,)),
    "std of zero": lambda: Normalisation(std=(0.0,)),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_is_refused(make):
    with pytest.raises(SpecError):
        make()


def test_it_is_copied_and_pickled_as_manifests_are():
    assert copy.deepcopy(USAGE) == USAGE
    assert pickle.loads(pickle.dumps(USAGE)) == USAGE
    assert dataclasses.asdict(USAGE)["class_names"] == USAGE.class_names
