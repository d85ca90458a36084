"""Image files become exactly what the graph takes, or an error that names the file."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import read_images
from PIL import Image

from hnexport import images
from hnexport.errors import RuntimeInputError, SpecError
from hnexport.images import Normalisation
from hnexport.networks.wide_resnet.family import image_input
from hnexport.networks.wide_resnet.spec import ImageLayout, ImageSpec, PipelineSpec, PreprocessSpec, WideResNetSpec

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"


def spec(
    layout: ImageLayout = ImageLayout.NCHW,
    *,
    preprocess: bool = False,
    channels: int = 3,
    height: int = 32,
    width: int = 32,
) -> PipelineSpec:
    return PipelineSpec(
        network=WideResNetSpec(
            blocks_per_group=1, widening=1, image=ImageSpec(channels=channels, height=height, width=width)
        ),
        members=1,
        image_layout=layout,
        preprocess=PreprocessSpec(mean=(0.5,) * channels, std=(0.2,) * channels) if preprocess else None,
    )


@pytest.fixture
def pixels() -> NDArray[Any]:
    """uint8 [height, width, channel], with another height than width."""
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path: Path, pixels: NDArray[Any]) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


LAYOUTS = {
    "nchw": (ImageLayout.NCHW, lambda pixels: pixels.transpose(2, 0, 1)),
    "nhwc": (ImageLayout.NHWC, lambda pixels: pixels),
    "flat-hwc": (ImageLayout.FLAT_HWC, lambda pixels: pixels.reshape(-1)),
}


@pytest.mark.parametrize(("layout", "arrange"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_float_graph_gets_pixels_from_0_to_1_in_its_layout(
    picture: Path, pixels: NDArray[Any], layout: ImageLayout, arrange: Callable[[Any], Any]
) -> None:
    batch = read_images([picture], spec(layout, height=6, width=9))
    assert batch.images.dtype == np.float32
    assert batch.images.flags.c_contiguous
    assert np.array_equal(batch.images, arrange(pixels.astype(np.float32) / np.float32(255))[np.newaxis])
    assert batch.names == ("picture.png",)


def test_a_graph_that_normalises_itself_gets_the_pixels(picture: Path, pixels: NDArray[Any]) -> None:
    batch = read_images([picture], spec(ImageLayout.NHWC, preprocess=True, height=6, width=9))
    assert batch.images.dtype == np.uint8
    assert np.array_equal(batch.images, pixels[np.newaxis])


def test_mean_and_std_are_applied_to_their_own_channels(picture: Path, pixels: NDArray[Any]) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    batch = read_images([picture], spec(height=6, width=9), normalisation=Normalisation(mean=mean, std=std))
    expected = (pixels.transpose(2, 0, 1) / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(batch.images[0], expected, rtol=1e-5, atol=1e-6)


def test_one_number_is_for_all_channels(picture: Path) -> None:
    one, three = (Normalisation(mean=(0.1,) * count, std=(0.5,) * count) for count in (1, 3))
    found = [read_images([picture], spec(height=6, width=9), normalisation=each).images for each in (one, three)]
    assert np.array_equal(*found)


BAD_NORMALISATIONS = {
    "zero std": ({"std": (0.0,)}, "std positive"),
    "nan": ({"mean": (float("nan"),)}, "must be finite"),
    "two numbers": ({"mean": (0.1, 0.2)}, "mean needs 1 or 3 numbers, one a channel, found 2"),
}


@pytest.mark.parametrize(("numbers", "message"), BAD_NORMALISATIONS.values(), ids=BAD_NORMALISATIONS.keys())
def test_a_normalisation_that_cannot_be_is_refused(picture: Path, numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_images([picture], spec(height=6, width=9), normalisation=Normalisation(**numbers))


def test_what_the_ensemble_says_is_applied_unless_the_call_says_otherwise(picture: Path, pixels: NDArray[Any]) -> None:
    image = image_input(spec(height=6, width=9))
    own, other = Normalisation(mean=(0.1, 0.2, 0.3), std=(0.5,)), Normalisation(mean=(0.4,), std=(2.0,))
    saying = dataclasses.replace(image, normalisation=own)
    by_ensemble = images.read_images([picture], saying)
    by_call = images.read_images([picture], saying, normalisation=other)
    assert np.array_equal(by_ensemble.images, images.read_images([picture], image, normalisation=own).images)
    assert np.array_equal(by_call.images, images.read_images([picture], image, normalisation=other).images)
    assert not np.array_equal(by_ensemble.images, by_call.images)
    assert [one.normalised[0].by for one in (by_ensemble, by_call)] == ["ensemble", "given"]


def test_a_picture_of_which_nobody_says_how_it_is_normalised_is_refused_with_what_to_give(
    picture: Path, tmp_path: Path
) -> None:
    image = image_input(spec(height=6, width=9))
    remedy = r"give normalisation=Normalisation\(mean=\(…\), std=\(…\)\), or Normalisation\(\) where training took"
    with pytest.raises(RuntimeInputError, match=rf"picture\.png: this ensemble does not say .*{remedy}"):
        images.read_images([picture], image)
    np.save(tmp_path / "array.npy", np.zeros((2, 3, 6, 9), np.float32))
    assert images.read_images([tmp_path / "array.npy"], image).normalised == (None, None)
    with pytest.raises(RuntimeInputError, match="does not say"):
        images.read_images([tmp_path / "array.npy", picture], image)


def test_numbers_that_do_not_fit_say_what_the_ensemble_says(picture: Path) -> None:
    image = dataclasses.replace(image_input(spec(height=6, width=9)), normalisation=Normalisation(mean=(0.5,)))
    with pytest.raises(
        SpecError, match="one a channel, found 2; the ensemble says mean 0.5, std 1, which is used where"
    ):
        images.read_images([picture], image, normalisation=Normalisation(std=(0.1, 0.2)))


def test_normalising_twice_is_refused(picture: Path) -> None:
    with pytest.raises(RuntimeInputError, match="this graph normalises its images itself"):
        read_images(
            [picture], spec(ImageLayout.NHWC, preprocess=True, height=6, width=9), normalisation=Normalisation()
        )


def test_another_size_is_refused_unless_it_may_be_scaled(picture: Path) -> None:
    with pytest.raises(RuntimeInputError, match=r"picture.png is 9x6 .*takes 32x32: scale it, or give resize=True"):
        read_images([picture], spec())
    assert read_images([picture], spec(), resize=True).images.shape == (1, 3, 32, 32)


def test_a_picture_of_the_right_size_is_the_same_with_resize(picture: Path) -> None:
    plain, scaled = (read_images([picture], spec(height=6, width=9), resize=resize).images for resize in (False, True))
    assert np.array_equal(plain, scaled)


def test_the_rotation_that_a_camera_notes_is_applied(tmp_path: Path, pixels: NDArray[Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    batch = read_images([tmp_path / "turned.png"], spec(ImageLayout.NHWC, preprocess=True, height=9, width=6))
    assert np.array_equal(batch.images[0], np.rot90(pixels, -1))


def test_a_grey_graph_gets_one_channel(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    batch = read_images([tmp_path / "grey.png"], spec(ImageLayout.NHWC, preprocess=True, channels=1, height=3, width=4))
    assert np.array_equal(batch.images, grey[np.newaxis, ..., np.newaxis])


def test_arrays_are_taken_as_they_are_one_image_or_a_batch(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((3, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "one.npy", values[0])
    np.save(tmp_path / "three.npy", values)
    batch = read_images([tmp_path / "one.npy", tmp_path / "three.npy"], spec())
    assert np.array_equal(batch.images, np.concatenate([values[:1], values]))
    assert batch.names == ("one.npy", "three.npy[0]", "three.npy[1]", "three.npy[2]")


def write_bytes(path: Any, content: bytes = b"not an image") -> None:
    path.write_bytes(content)


BAD_FILES = {
    "missing picture": ("a.png", lambda path: None, "cannot be read as an image"),
    "no picture": ("a.png", write_bytes, "cannot be read as an image"),
    "half a picture": (
        "a.png",
        lambda path: path.write_bytes((EXAMPLES / "cat.png").read_bytes()[:2000]),
        "cannot be read as an image",
    ),
    "16 bits": (
        "a.png",
        lambda path: Image.fromarray(np.zeros((32, 32), np.uint16)).save(path),
        "more than 8 bits a channel",
    ),
    "missing array": ("a.npy", lambda path: None, "cannot be read as a .npy file"),
    "no array": ("a.npy", write_bytes, "cannot be read as a .npy file"),
    "an empty file": ("a.npy", lambda path: write_bytes(path, b""), "cannot be read as a .npy file"),
    "pickled": ("a.npy", lambda path: np.save(path, np.array([{}], object)), "holds pickled Python objects"),
    "float64": (
        "a.npy",
        lambda path: np.save(path, np.zeros((3, 32, 32))),
        r"expected float32, found float64; cast them",
    ),
    "another shape": (
        "a.npy",
        lambda path: np.save(path, np.zeros((32, 32, 3), np.float32)),
        r"expected shape \[batch, 3, 32, 32\], found \[32, 32, 3\]; .*transpose\(2, 0, 1\)",
    ),
    "no image in it": (
        "a.npy",
        lambda path: np.save(path, np.zeros((0, 3, 32, 32), np.float32)),
        "the batch is empty",
    ),
}


@pytest.mark.parametrize(("name", "write", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_cannot_be_taken_is_refused_by_name(
    tmp_path: Path, name: str, write: Callable[..., Any], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(RuntimeInputError, match=rf"{name}.*{message}"):
        read_images([tmp_path / name], spec())


def test_pictures_of_graphs_with_other_channels_are_refused(picture: Path) -> None:
    with pytest.raises(RuntimeInputError, match=r"takes 4 channels, give its images as .npy"):
        read_images([picture], spec(channels=4))


@pytest.mark.parametrize("paths", ["a.png", Path("a.png"), b"a.png"], ids=repr)
def test_one_path_instead_of_a_list_is_refused(paths: Any) -> None:
    with pytest.raises(RuntimeInputError, match="paths must be a list of paths"):
        read_images(paths, spec())


@pytest.mark.parametrize("path", [b"a.png", None, 3, np.zeros(3)], ids=repr)
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(RuntimeInputError, match="an image must be a path such as"):
        read_images([path], spec())


def test_paths_may_be_text(picture: Path, pixels: NDArray[Any]) -> None:
    assert np.array_equal(
        read_images([str(picture)], spec(height=6, width=9)).images,
        read_images([picture], spec(height=6, width=9)).images,
    )


def test_no_file_is_an_error() -> None:
    with pytest.raises(RuntimeInputError, match="no image was given"):
        read_images([], spec())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.png")), ids=lambda path: path.stem)
def test_the_example_images_fit_the_default_graph(path: Path) -> None:
    batch = read_images([path], spec())
    assert batch.images.shape == (1, 3, 32, 32)
    assert 0.0 <= batch.images.min() < batch.images.max() <= 1.0


def test_a_folder_in_the_place_of_a_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeInputError,
        match=r"it is a folder: give the files in it, such as .*\*\.png; .* --out predictions.parquet` scores",
    ):
        read_images([tmp_path], spec())
