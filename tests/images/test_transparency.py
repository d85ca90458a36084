"""Pictures that are not opaque are shown on the background that was named, or refused."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_files import encoded, pixels_spec, png, read_images, tiff
from PIL import Image

from hnexport.errors import RuntimeInputError
from hnexport.images.transparency import parse_background
from hnexport.reading import shown

RANDOM = np.random.default_rng(3)
COLOURS = RANDOM.integers(0, 256, (6, 9, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (6, 9), dtype=np.uint8)
RGBA = np.dstack([COLOURS, ALPHA])
GREY_KEY = np.arange(54, dtype=np.uint8).reshape(6, 9) % 4


def read(path: Path, content: bytes, **options: tuple[int, int, int] | str) -> Any:
    path.write_bytes(content)
    return read_images([path], pixels_spec(), **options).images[0]


def over(
    colours: NDArray[np.unsignedinteger],
    alpha: NDArray[np.int64] | NDArray[np.unsignedinteger] | NDArray[Any],
    background: tuple[int, int, int],
) -> Any:
    """What a viewer shows: `alpha * colour + (1 - alpha) * background`."""
    share = alpha[..., np.newaxis] / 255
    return share * colours + (1 - share) * np.array(background)


def palette_png() -> tuple[bytes, Image.Image]:
    palette = Image.fromarray(COLOURS).quantize(8)
    return encoded(palette, "PNG", transparency=bytes([0, 128, 255, 255, 255, 255, 255, 64])), palette


GREYS = np.repeat(COLOURS[..., :1], 3, axis=2)
KINDS = {
    "PNG, colour": (encoded(Image.fromarray(RGBA), "PNG"), COLOURS, ALPHA),
    "PNG, grey": (encoded(Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA]), "LA"), "PNG"), GREYS, ALPHA),
    "WebP": (encoded(Image.fromarray(RGBA), "WEBP", lossless=True, exact=True), COLOURS, ALPHA),
    "TIFF": (encoded(Image.fromarray(RGBA), "TIFF"), COLOURS, ALPHA),
    "TIFF, written by hand": (tiff(RGBA, photometric=2, extra=2), COLOURS, ALPHA),
    "TIFF, grey": (tiff(np.dstack([COLOURS[..., :1], ALPHA]), photometric=1, extra=2), GREYS, ALPHA),
    "PNG, one transparent colour": (
        png(COLOURS, bits=8, colour=2, chunks=[(b"tRNS", struct.pack(">HHH", *map(int, COLOURS[2, 3])))]),
        COLOURS,
        np.where((COLOURS[2, 3] == COLOURS).all(axis=-1), 0, 255),
    ),
    "PNG, one transparent grey": (
        png(COLOURS[..., 0], bits=8, colour=0, chunks=[(b"tRNS", struct.pack(">H", int(COLOURS[2, 3, 0])))]),
        GREYS,
        np.where(COLOURS[..., 0] == COLOURS[2, 3, 0], 0, 255),
    ),
    "PNG, one transparent grey of 2 bits": (
        png(GREY_KEY, bits=2, colour=0, chunks=[(b"tRNS", struct.pack(">H", 1))]),
        np.repeat(GREY_KEY[..., np.newaxis] * 85, 3, axis=2),
        np.where(GREY_KEY == 1, 0, 255),
    ),
    "PNG, white of 1 bit is transparent": (
        png(GREY_KEY & 1, bits=1, colour=0, chunks=[(b"tRNS", struct.pack(">H", 1))]),
        np.repeat((GREY_KEY & 1)[..., np.newaxis] * 255, 3, axis=2),
        np.where(GREY_KEY & 1 == 1, 0, 255),
    ),
    "PNG, black is transparent": (
        png(GREY_KEY & 1, bits=1, colour=0, chunks=[(b"tRNS", struct.pack(">H", 0))]),
        np.repeat((GREY_KEY & 1)[..., np.newaxis] * 255, 3, axis=2),
        np.where(GREY_KEY & 1 == 0, 0, 255),
    ),
}


def add_palette() -> None:
    content, palette = palette_png()
    alphas = np.array([0, 128, 255, 255, 255, 255, 255, 64])
    KINDS["PNG, palette"] = (content, np.asarray(palette.convert("RGB")), alphas[np.asarray(palette)])


add_palette()


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 90)], ids=str)
@pytest.mark.parametrize(("content", "colours", "alpha"), KINDS.values(), ids=KINDS.keys())
def test_a_transparent_picture_stands_on_its_background(
    tmp_path: Path,
    content: bytes,
    colours: NDArray[np.uint8],
    alpha: NDArray[np.int64] | NDArray[np.uint8],
    background: tuple[int, int, int],
) -> None:
    found = read(tmp_path / "a.bin", content, background=background)
    np.testing.assert_allclose(found, over(colours, alpha, background), atol=1.01)


@pytest.mark.parametrize("content", [one[0] for one in KINDS.values()], ids=KINDS.keys())
def test_without_a_background_it_is_refused_with_what_to_type(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RuntimeInputError, match=r"a.bin has pixels that are not opaque, .*background='white'$"):
        read(tmp_path / "a.bin", content)


def test_a_gif_whose_colour_is_transparent_needs_a_background(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOURS).quantize(8)
    content = encoded(palette, "GIF", transparency=3)
    with pytest.raises(RuntimeInputError, match="not opaque"):
        read(tmp_path / "a.gif", content)
    found = read(tmp_path / "a.gif", content, background="black")
    hidden = np.asarray(palette) == 3
    assert np.array_equal(found, np.where(hidden[..., np.newaxis], 0, np.asarray(palette.convert("RGB"))))


@pytest.mark.parametrize(("samples", "photometric"), [(3, 2), (1, 1)], ids=["colour", "grey"])
def test_colours_that_are_multiplied_with_their_opacity_are_not_multiplied_again(
    tmp_path: Path, samples: int, photometric: int
) -> None:
    opacity = np.maximum(ALPHA, 64)[..., np.newaxis]
    plain = COLOURS[..., :samples]
    multiplied = np.round(plain * (opacity / 255)).astype(np.uint8)
    found = read(
        tmp_path / "a.tiff",
        tiff(np.dstack([multiplied, opacity]), photometric=photometric, extra=1),
        background="white",
    )
    np.testing.assert_allclose(found, over(plain, opacity[..., 0], (255, 255, 255)), atol=2.01)


OPAQUE = {
    "PNG": (encoded(Image.fromarray(np.dstack([COLOURS, np.full((6, 9), 255, np.uint8)])), "PNG"), COLOURS),
    "a colour that is not there": (
        png(COLOURS // 2, bits=8, colour=2, chunks=[(b"tRNS", struct.pack(">HHH", 255, 255, 255))]),
        COLOURS // 2,
    ),
}


@pytest.mark.parametrize(("content", "colours"), OPAQUE.values(), ids=OPAQUE.keys())
def test_a_picture_that_is_opaque_everywhere_needs_no_background(
    tmp_path: Path, content: bytes, colours: NDArray[np.uint8]
) -> None:
    assert np.array_equal(read(tmp_path / "a.bin", content), colours)
    assert np.array_equal(read(tmp_path / "a.bin", content, background="black"), colours)


def test_one_pixel_that_is_not_quite_opaque_is_enough(tmp_path: Path) -> None:
    almost = np.dstack([COLOURS, np.full((6, 9), 255, np.uint8)])
    almost[5, 8, 3] = 254
    with pytest.raises(RuntimeInputError, match="not opaque"):
        read(tmp_path / "a.png", encoded(Image.fromarray(almost), "PNG"))


@pytest.mark.parametrize(
    ("given", "colour"),
    [
        ("white", (255, 255, 255)),
        (" Tomato ", (255, 99, 71)),
        ("#0a0B0c", (10, 11, 12)),
        ("1, 2,3", (1, 2, 3)),
        ((1, 2, 3), (1, 2, 3)),
        ([np.uint8(1), 2, 3], (1, 2, 3)),
    ],
    ids=str,
)
def test_backgrounds_are_names_or_numbers(given: Any, colour: tuple[int, int, int]) -> None:
    assert parse_background(given) == colour


@pytest.mark.parametrize(
    "given",
    [
        "",
        "whit",
        "1,2",
        "1,2,256",
        "-1,2,3",
        "1,2,x",
        "#ffffff80",
        (1, 2),
        (1, 2, 3, 4),
        (0.5, 0, 0),
        255,
        True,
        b"white",
        (10**5000, 0, 0),
    ],
    ids=shown,
)
def test_what_is_no_colour_is_refused_before_a_file_is_read(tmp_path: Path, given: Any) -> None:
    with pytest.raises(RuntimeInputError, match=r"background .* is no colour: give a name such as white"):
        read_images([tmp_path / "missing.png"], pixels_spec(), background=given)
