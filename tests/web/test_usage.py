"""What a bundle says of its use, in the TypeScript module: read strictly, and applied to pictures as Python does."""

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import saying, small_bundle
from PIL import Image
from web_sites import PACKAGES, ROOT, Node
from written import written

from hnexport.bundle.golden import read_golden
from hnexport.bundle.manifest import read_manifest
from hnexport.errors import BundleError
from hnexport.images import image_input, read_images
from hnexport.names import MANIFEST_FILE
from hnexport.parity import write_golden_inputs
from hnexport.records import to_json
from hnexport.runtime import load
from hnexport.spec.images import ImageInput, ImageLayout
from hnexport.spec.tensors import TensorSpec
from hnexport.spec.usage import Normalisation, Usage

pytestmark = pytest.mark.browser

NAMES = (*(f"Sorte {one}: äöü 🐈" for one in range(9)), "\u0645\u06cc\u200c\u062e 👨\u200d👩")
NORMALISATION = Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))
COMPLETE = Usage(
    normalisation=NORMALISATION, class_names={"logits": NAMES}, license="apache-2.0", assumed=("image-size",)
)
NOTHING: dict[str, Any] = {"normalisation": None, "class_names": {}, "license": None, "assumed": []}


@pytest.fixture(scope="module")
def module(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Runs jobs in Node; what the module says of each."""

    def run(**jobs: Any) -> Any:
        file = tmp_path_factory.mktemp("jobs") / "jobs.json"
        file.write_text(json.dumps(jobs))
        return json.loads(node("usage.mjs", file))

    return run


def manifest_with(kind: str, **changes: Collection[str] | dict[str, dict[str, object]]) -> str:
    """A bundle's manifest as text, with other fields."""
    value = json.loads((written(kind).folder / MANIFEST_FILE).read_text())
    return json.dumps({**value, **changes})


def as_json(image: ImageInput | None) -> dict[Any, Any] | None:
    """What the module says of the input that takes pictures."""
    if image is None:
        return None
    return {
        "name": image.tensor.name,
        "dtype": image.tensor.dtype,
        "layout": image.layout.value,
        "channels": image.channels,
        "height": image.height,
        "width": image.width,
    }


def test_what_python_writes_is_read(module: Callable[..., Any]) -> None:
    said = module(manifests=[manifest_with("hypernet", usage=to_json(COMPLETE)), manifest_with("hypernet")])
    complete, nothing = said["manifests"]
    assert complete["usage"] == to_json(COMPLETE)
    assert nothing["usage"] == NOTHING
    assert set(NOTHING) == {field.name for field in dataclasses.fields(Usage)}


STRANGE = {
    "no object": (["mean"], "usage: expected an object, found list .mean"),
    "unknown field": ({"colour": 1}, "usage: expected no other fields than normalisation, class_names, license, assu"),
    "a word as mean": ({"normalisation": {"mean": "0.5", "std": [1]}}, "usage.normalisation.mean: expected a list of"),
    "no mean": ({"normalisation": {"mean": [], "std": [1]}}, "usage.normalisation.mean: expected a list of numbers"),
    "std of zero": (
        {"normalisation": {"mean": [0], "std": [0]}},
        "usage.normalisation.std: expected a list of numbers a",
    ),
    "a shift": (
        {"normalisation": {"mean": [0], "std": [1], "shift": 1}},
        "usage.normalisation: expected no other fields",
    ),
    "no output": ({"class_names": {"other": ["a"]}}, "usage.class_names: expected no other fields than logits"),
    "too few names": ({"class_names": {"logits": ["a"]}}, "usage.class_names.logits: expected 10 names of classes"),
    "no name": ({"class_names": {"logits": ["a"] * 9 + [7]}}, r"usage.class_names.logits\[9\]: expected a string"),
    "two lines": (
        {"class_names": {"logits": ["a"] * 9 + ["b\nc"]}},
        "usage.class_names.logits: expected names of one li",
    ),
    "empty": ({"class_names": {"logits": ["a"] * 9 + [""]}}, "usage.class_names.logits: expected names of one line"),
    "a long name": (
        {"class_names": {"logits": ["a"] * 9 + ["b" * 201]}},
        "usage.class_names.logits: expected names of one line of at most 200",
    ),
    "a sentence": ({"license": "all rights reserved"}, "usage.license: expected an SPDX identifier such as apache-2.0"),
    "one assumption": ({"assumed": "image-size"}, "usage.assumed: expected a list of strings"),
}


@pytest.fixture(scope="module")
def refusals(module: Callable[..., Any]) -> dict[Any, Any]:
    said = module(manifests=[manifest_with("hypernet", usage=usage) for usage, _ in STRANGE.values()])
    return dict(zip(STRANGE, said["manifests"], strict=True))


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_usage_is_refused_with_what_was_expected_as_python_refuses_it(
    refusals: dict[str, Any], what: str, tmp_path: Path
) -> None:
    usage, message = STRANGE[what]
    (tmp_path / MANIFEST_FILE).write_text(manifest_with("hypernet", usage=usage))
    with pytest.raises(BundleError, match=r"manifest\.json is not valid: \$\.usage"):
        read_manifest(tmp_path)
    expected = f"HnexportError: manifest.json is not valid: {message}.*; copy the bundle again"
    assert "refused" in refusals[what]
    assert re.match(expected, refusals[what]["refused"])


def test_mean_and_std_that_do_not_fit_the_pictures_are_refused(module: Callable[..., Any]) -> None:
    two = {"normalisation": {"mean": [0.5, 0.5], "std": [1]}}
    one, pixels = module(manifests=[manifest_with("hypernet", usage=two), manifest_with("pixels", usage=two)])[
        "manifests"
    ]
    assert "usage.normalisation.mean: expected 1 or 3 numbers, one a channel, found list [0.5, 0.5]" in one["refused"]
    assert "usage.normalisation: expected nothing, since the graph takes uint8" in pixels["refused"]


def test_pictures_are_found_as_python_finds_them(module: Callable[..., Any]) -> None:
    kinds = ("hypernet", "pixels", "list of CNNs", "list of GRUs", "list of encoders")
    said = module(manifests=[manifest_with(kind) for kind in kinds])["manifests"]
    expected = [as_json(image_input(read_manifest(written(kind).folder))) for kind in kinds]
    assert [one["image"] for one in said] == expected
    assert [one is None for one in expected] == [False, False, False, True, True]


def test_a_picture_that_lies_flat_is_found_by_its_specification(module: Callable[..., Any]) -> None:
    value = json.loads(manifest_with("hypernet"))
    value["source"]["spec"]["image_layout"] = "flat-hwc"
    value["inputs"][1]["shape"] = ["batch", 192]
    wrong = {**value, "inputs": [value["inputs"][0], {**value["inputs"][1], "shape": ["batch", 100]}]}
    right, other = module(manifests=[json.dumps(value), json.dumps(wrong)])["manifests"]
    assert right["image"] == {
        "name": "image", "dtype": "float32", "layout": "flat-hwc", "channels": 3, "height": 8, "width": 8,
    }  # fmt: skip
    assert "its source says of no image what the input takes" in other["refused"]


LAYOUTS = {
    "nchw": (ImageLayout.NCHW, "float32", 3),
    "nhwc": (ImageLayout.NHWC, "float32", 3),
    "flat": (ImageLayout.FLAT_HWC, "float32", 3),
    "grey": (ImageLayout.NCHW, "float32", 1),
    "pixels": (ImageLayout.NHWC, "uint8", 3),
    "pixels nchw": (ImageLayout.NCHW, "uint8", 3),
}


@pytest.mark.parametrize(("layout", "dtype", "channels"), LAYOUTS.values(), ids=LAYOUTS)
def test_pictures_become_what_read_images_makes_of_them_bit_for_bit(
    module: Callable[..., Any], tmp_path: Path, layout: ImageLayout, dtype: str, channels: int
) -> None:
    height, width = 5, 7
    axes = {"nchw": (channels, height, width), "nhwc": (height, width, channels), "flat-hwc": (channels * 35,)}
    tensor = TensorSpec(name="image", dtype=dtype, shape=("batch", *axes[layout]))
    image = ImageInput(tensor=tensor, layout=layout, channels=channels, height=height, width=width)
    given = None if dtype == "uint8" else NORMALISATION if channels == 3 else Normalisation(mean=(0.3,), std=(0.7,))
    colours = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    colours[0, 0] = [[0, 255, 1]]
    paths = []
    for number, one in enumerate(colours):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(one).convert("L" if channels == 1 else "RGB").save(paths[-1])
    batch = np.stack([np.asarray(Image.open(path)).reshape(height, width, channels) for path in paths])
    expected = read_images(paths, image, normalisation=given).images
    canvas = np.concatenate([colours[0], np.full((height, width, 1), 255, np.uint8)], axis=-1)
    job = {"input": as_json(image), "normalisation": None if given is None else to_json(given)}
    whole, first = module(
        pictures=[
            {**job, "pixels": batch.ravel().tolist()},
            {**job, "pixels": canvas.ravel().tolist(), "height": height, "width": width},
        ]
    )["pictures"]
    assert whole["kind"] == first["kind"] == ("Uint8Array" if dtype == "uint8" else "Float32Array")
    for found, right in ((whole, expected), (first, expected[:1])):
        assert found["shape"] == list(right.shape)
        assert np.array_equal(np.array(found["data"], right.dtype), right.ravel())


def test_pictures_that_do_not_fit_are_refused_in_words(module: Callable[..., Any]) -> None:
    image = {"name": "image", "dtype": "float32", "layout": "nchw", "channels": 3, "height": 2, "width": 2}
    plain = {"mean": [0], "std": [1]}
    jobs: dict[str, dict[str, Any]] = {
        "pixels: how pictures were normalised in training is not known: give normalisation: { mean, std }": (
            {"pixels": [0] * 12, "normalisation": None}
        ),
        "normalisation.mean: expected 1 or 3 numbers, one a channel, found list [0, 0]": (
            {"pixels": [0] * 12, "normalisation": {"mean": [0, 0], "std": [1]}}
        ),
        "normalisation.std: expected a list of numbers above 0, found undefined": (
            {"pixels": [0] * 12, "normalisation": {"mean": [0]}}
        ),
        "pixels: expected [batch, 2, 2, 3], found 13 numbers": {"pixels": [0] * 13, "normalisation": plain},
        "pixels: expected a picture of 2 \u00d7 2 pixels, found 1 \u00d7 4: scale it first": (
            {"pixels": [255] * 16, "width": 1, "height": 4, "normalisation": plain}
        ),
        "pixels: the picture is transparent: draw it on a background first": (
            {"pixels": [255] * 15 + [254], "width": 2, "height": 2, "normalisation": plain}
        ),
    }
    said = module(pictures=[{"input": image, **job} for job in jobs.values()])["pictures"]
    for start, one in zip(jobs, said, strict=True):
        assert one["refused"].startswith(f"HnexportError: {start}")


def test_an_ensemble_offers_its_class_names_and_takes_pictures_as_it_was_trained(
    module: Callable[..., Any], tmp_path: Path
) -> None:
    bundle = saying(small_bundle("hypernet"), tmp_path / "bundle", **vars(COMPLETE))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    job = {"folder": str(bundle), "pixels": pixels.ravel().tolist(), "outputs": ["logits", "other"]}
    other = Normalisation(mean=(0.5,), std=(0.5,))
    silent = {**job, "folder": str(small_bundle("hypernet"))}
    own, given, without, numbers = module(
        ensembles=[
            job,
            {**job, "options": {"normalisation": to_json(other)}},
            silent,
            {"folder": str(written("list of GRUs").folder), "pixels": [1]},
        ]
    )["ensembles"]
    assert own["names"] == own["of"][0] == list(NAMES)
    assert own["of"][1]["refused"] == "HnexportError: there is no output other, only logits"
    ensemble = load(bundle)
    image = image_input(ensemble.manifest)
    for found, normalisation in ((own, NORMALISATION), (given, other)):
        images = read_images([tmp_path / "picture.png"], image, normalisation=normalisation).images
        assert np.allclose(found["logits"]["data"], ensemble.predict(images, member=1).ravel(), rtol=1e-4, atol=1e-5)
    assert without["names"] is None
    assert "how pictures were normalised in training is not known" in without["logits"]["refused"]
    assert numbers["image"] is None
    assert (
        numbers["logits"]["refused"]
        == "HnexportError: this network takes no pictures, but series float32 [batch, 7, 4]"
    )


@pytest.mark.parametrize("named", [True, False])
def test_the_node_example_prints_class_names_where_the_bundle_has_them(tmp_path: Path, named: Path) -> None:
    names = {"class_names": {"logits": NAMES}} if named else {}
    bundle = saying(small_bundle("hypernet"), tmp_path / "bundle", **names)
    index = write_golden_inputs(bundle, tmp_path / "golden")
    shutil.copy(ROOT / "examples" / "node" / "predict.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    command = ["node", tmp_path / "predict.mjs", bundle, tmp_path / "golden"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    best = read_golden(bundle).outputs["logits"].argmax(-1)
    words = NAMES if named else [f"class {one}" for one in range(10)]
    assert done.stdout.splitlines() == [
        f"member {member}, logits: {', '.join(words[one] for one in row)}"
        for member, row in zip(index.members, best, strict=True)
    ]
