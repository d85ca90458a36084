"""Pictures as people have them: rotated, grey, deep, of other colours, odd files."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import encoded, pixels_spec, png, read_images, tiff
from PIL import Image
from special_files import make_pipe, make_zeros

from hnexport.errors import RuntimeInputError
from hnexport.images import pictures
from hnexport.networks.wide_resnet.spec import PipelineSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
ORIENTED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


def read(path: Path, spec: PipelineSpec, **options: bool) -> Any:
    return read_images([path], spec, **options).images[0]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def run(content: bytes, name: str = "picture.bin") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return run


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_every_orientation_is_applied(write: Callable[..., Path], kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    path = write(encoded(Image.fromarray(PIXELS), kind, exif=exif, **options))
    expected = ORIENTED[orientation](PIXELS)
    assert np.array_equal(read(path, pixels_spec(*expected.shape[:2])), expected)


@pytest.mark.parametrize("orientation", ORIENTED)
def test_every_orientation_of_a_photograph_is_applied(write: Callable[..., Path], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = (
        write(encoded(Image.fromarray(PIXELS), "JPEG", quality=95, **extra)) for extra in ({}, {"exif": exif})
    )
    plain = write(encoded(Image.fromarray(PIXELS), "JPEG", quality=95), "plain.jpg")
    expected = ORIENTED[orientation](read(plain, pixels_spec()))
    assert np.array_equal(read(turned, pixels_spec(*expected.shape[:2])), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"], ids=str)
def test_broken_exif_leaves_a_picture_upright(write: Callable[..., Path], exif: bytes) -> None:
    path = write(encoded(Image.fromarray(PIXELS), "PNG", exif=exif))
    assert np.array_equal(read(path, pixels_spec()), PIXELS)


def test_a_bilevel_picture_is_black_and_white(write: Callable[..., Path]) -> None:
    bits = PIXELS[..., 0] > 128
    path = write(encoded(Image.fromarray(bits), "PNG"))
    assert np.array_equal(read(path, pixels_spec()), np.repeat(bits[..., np.newaxis] * np.uint8(255), 3, axis=2))


def test_a_palette_gives_its_colours(write: Callable[..., Path]) -> None:
    picture = Image.fromarray(PIXELS).quantize(16)
    path = write(encoded(picture, "PNG"))
    assert np.array_equal(read(path, pixels_spec()), np.asarray(picture.convert("RGB")))


def test_the_inks_of_a_jpeg_become_colours_as_pillow_converts_them(write: Callable[..., Path]) -> None:
    path = write(encoded(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95))
    with Image.open(path) as picture:
        assert picture.mode == "CMYK"
        assert np.array_equal(read(path, pixels_spec()), np.asarray(picture.convert("RGB")))


def test_colours_become_grey_for_a_grey_graph(write: Callable[..., Path]) -> None:
    path = write(encoded(Image.fromarray(PIXELS), "PNG"))
    expected = np.asarray(Image.fromarray(PIXELS).convert("L"))
    assert np.array_equal(read(path, pixels_spec(channels=1))[..., 0], expected)


DEEP = {
    "PNG grey": png(PIXELS[..., 0].astype(">u2") * 257, bits=16, colour=0),
    "PNG colour": png(PIXELS.astype(">u2") * 256 + 7, bits=16, colour=2),
    "PNG grey and alpha": png(PIXELS[..., :2].astype(">u2"), bits=16, colour=4),
    "PNG colour and alpha": png(np.dstack([PIXELS, PIXELS[..., :1]]).astype(">u2"), bits=16, colour=6),
    "PPM colour": b"P6 9 6 65535\n" + PIXELS.astype(">u2").tobytes(),
    "PPM colour of 10 bits": b"P6 9 6 1023\n" + PIXELS.astype(">u2").tobytes(),
    "PPM grey": b"P5 9 6 65535\n" + PIXELS[..., 0].astype(">u2").tobytes(),
    "TIFF colour": tiff(PIXELS.astype(np.uint16), photometric=2),
    "TIFF grey": encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16)), "TIFF"),
    "TIFF float": encoded(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF"),
    "TIFF integers": encoded(Image.fromarray(PIXELS[..., 0].astype(np.int32)), "TIFF"),
}


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP.keys())
def test_more_than_8_bits_a_channel_are_refused_instead_of_cut(write: Callable[..., Path], content: bytes) -> None:
    with pytest.raises(RuntimeInputError, match=r"picture.bin has more than 8 bits a channel .*or give .npy"):
        read(write(content), pixels_spec())


def test_an_avif_of_10_bits_is_refused_instead_of_cut(write: Callable[..., Path]) -> None:
    """Pillow writes 8 bits only: both places that say so are changed to 10."""
    content = bytearray(encoded(Image.fromarray(PIXELS), "AVIF"))
    assert read(write(content, "8.avif"), pixels_spec()).shape == PIXELS.shape
    content[content.index(b"av1C") + 6] |= 0x40
    bits = content.index(b"pixi") + 9
    assert content[bits : bits + 3] == b"\x08\x08\x08"
    content[bits : bits + 3] = b"\x0a\x0a\x0a"
    with pytest.raises(RuntimeInputError, match=r"more than 8 bits a channel \(10, "):
        read(write(content), pixels_spec())


def test_fewer_than_8_bits_are_scaled_to_8(write: Callable[..., Path]) -> None:
    values = PIXELS[..., 0] >> 4
    found = read(write(png(values, bits=4, colour=0)), pixels_spec())
    assert np.array_equal(found[..., 0], values * 17)


def test_lab_colours_are_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(RuntimeInputError, match=r"has no RGB or grey pixels \(LAB\): save it as RGB, or give .npy"):
        read(write(encoded(Image.fromarray(PIXELS, "LAB"), "TIFF")), pixels_spec())


def test_a_fax_is_refused(write: Callable[..., Path]) -> None:
    content = encoded(Image.fromarray(PIXELS).convert("1"), "TIFF", compression="group4")
    with pytest.raises(RuntimeInputError, match="is a fax .group4."):
        read(write(content), pixels_spec())


OTHERS = {
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\n",
    "pdf": b"%PDF-1.7\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "ico": encoded(Image.fromarray(PIXELS), "ICO"),
    "jpeg 2000": encoded(Image.fromarray(PIXELS), "JPEG2000"),
    "tga": encoded(Image.fromarray(PIXELS), "TGA"),
    "nothing": b"",
    "html": b"<html>404</html>",
}


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS.keys())
def test_another_format_is_refused_and_those_that_are_read_are_named(
    write: Callable[..., Path], content: bytes
) -> None:
    with pytest.raises(
        RuntimeInputError, match=r"picture.bin cannot .*another format than PNG, JPEG, .*save it as PNG"
    ):
        read(write(content, "picture.bin"), pixels_spec())


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(encoded(Image.fromarray(PIXELS), "PNG"))
    monkeypatch.setattr(pictures, "MOST_PIXELS", 53)
    with pytest.raises(RuntimeInputError, match=r"picture.bin has more pixels \(9x6\) than are read \(53\)"):
        read(path, pixels_spec(), resize=True)


@pytest.mark.parametrize("size", [12_000, 60_000], ids=["where Pillow warns", "where Pillow refuses"])
def test_a_decompression_bomb_is_an_error(write: Callable[..., Path], size: int) -> None:
    bomb = png(np.zeros((1, 1), np.uint8), bits=8, colour=0)
    header = b"IHDR" + struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    bomb = bomb[:12] + header + struct.pack(">I", zlib.crc32(header)) + bomb[33:]
    with pytest.raises(RuntimeInputError, match=r"picture.bin .*more pixels"):
        read(write(bomb), pixels_spec(), resize=True)


def test_a_large_file_is_refused(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(encoded(Image.fromarray(PIXELS), "PNG"))
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    with pytest.raises(RuntimeInputError, match=r"bytes, pictures are read up to 10"):
        read(path, pixels_spec())


NOT_FILES = {
    "a FIFO": make_pipe,
    "a folder": lambda path: path.mkdir(),
    "a device": make_zeros,
    "Too many levels of symbolic links": lambda path: path.symlink_to(path),
    "missing": lambda path: path.symlink_to(path.parent / "gone"),
}


@pytest.mark.parametrize("suffix", ["png", "npy"])
@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    NOT_FILES[kind](path)
    with pytest.raises(RuntimeInputError, match=rf"a.{suffix} cannot be read as .*{kind}"):
        read(path, pixels_spec())


def test_a_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeInputError, match="an image must be a path, found text with a zero byte"):
        read(tmp_path / "a\0.png", pixels_spec())


def test_links_are_followed_and_names_may_be_of_any_script(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(encoded(Image.fromarray(PIXELS), "PNG"), "猫 é.PNG")
    (tmp_path / "link.png").symlink_to(path)
    batch = read_images([path, tmp_path / "link.png", path], pixels_spec())
    assert batch.names == ("猫 é.PNG", "link.png", "猫 é.PNG")
    assert np.array_equal(batch.images, np.stack([PIXELS] * 3))
