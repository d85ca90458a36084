"""Animations and files of several pages: which frame is meant is said, never guessed."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import encoded, pixels_spec, read_images
from PIL import Image

from hnexport.errors import RuntimeInputError
from hnexport.images import formats

LEVELS = (0, 128, 255)
FRAMES = [Image.fromarray(np.full((6, 9, 3), level, np.uint8)) for level in LEVELS]
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "MPO": {"quality": 95},
    "AVIF": {"quality": 100},
}


def several(kind: str) -> bytes:
    return encoded(FRAMES[0], kind, save_all=True, append_images=[one.copy() for one in FRAMES[1:]], **OPTIONS[kind])


@pytest.fixture(params=OPTIONS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = tmp_path / "a.bin"
    found.write_bytes(several(request.param))
    return found


def test_several_frames_are_refused_with_their_number_and_what_to_type(path: Path) -> None:
    with pytest.raises(RuntimeInputError, match=r"a.bin holds 3 frames or pages: choose one, .*with frame=0$"):
        read_images([path], pixels_spec())


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_the_frame_that_was_named_is_read(path: Path, frame: int) -> None:
    found = read_images([path], pixels_spec(), frame=frame).images
    np.testing.assert_allclose(found.astype(int), LEVELS[frame], atol=2)


def test_a_frame_that_does_not_exist_is_refused_with_those_that_do(path: Path) -> None:
    with pytest.raises(RuntimeInputError, match=r"a.bin has no frame 3: it holds 3, numbered 0 to 2"):
        read_images([path], pixels_spec(), frame=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "AVIF", "BMP", "PPM"])
def test_a_single_picture_is_frame_0(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.bin").write_bytes(encoded(FRAMES[1], kind))
    plain, named = (read_images([tmp_path / "a.bin"], pixels_spec(), frame=frame).images for frame in (None, 0))
    assert np.array_equal(plain, named)
    with pytest.raises(RuntimeInputError, match=r"a.bin has no frame 1: it is one picture, frame 0"):
        read_images([tmp_path / "a.bin"], pixels_spec(), frame=1)


@pytest.mark.parametrize(
    "frame", [-1, 10_000, 10**5000, 1.0, True, "0"], ids=lambda frame: "long" if frame == 10**5000 else repr(frame)
)
def test_a_frame_is_a_whole_number(tmp_path: Path, frame: Any) -> None:
    with pytest.raises(RuntimeInputError, match="frame must be "):
        read_images([tmp_path / "missing.png"], pixels_spec(), frame=frame)


def with_previews(content: bytes) -> bytes:
    """The pictures behind the first of an MPO file become "large thumbnails": the kind in their entries is changed."""
    found = bytearray(content)
    start = content.index(b"MPF\0") + 4
    (entries,) = struct.unpack_from("<H", content, start + 8)
    for number in range(entries):
        tag, _, size, offset = struct.unpack_from("<HHII", content, start + 10 + 12 * number)
        if tag == 0xB002:
            for record in range(start + offset + 16, start + offset + size, 16):
                struct.pack_into("<I", found, record, 0x010001)
    return bytes(found)


def test_the_previews_that_a_camera_keeps_behind_a_photograph_are_no_further_frames(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(with_previews(several("MPO")))
    found = read_images([tmp_path / "a.jpg"], pixels_spec()).images
    np.testing.assert_allclose(found.astype(int), LEVELS[0], atol=2)


def test_the_frames_of_a_large_gif_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gif").write_bytes(several("GIF"))
    monkeypatch.setattr(formats, "_COUNTED_BYTES", 10)
    with pytest.raises(RuntimeInputError, match="a.gif holds several frames"):
        read_images([tmp_path / "a.gif"], pixels_spec())


def test_the_pages_of_a_tiff_are_counted_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tiff").write_bytes(several("TIFF"))
    monkeypatch.setattr(formats, "_COUNTED_PAGES", 2)
    with pytest.raises(RuntimeInputError, match="a.tiff holds at least 2 frames"):
        read_images([tmp_path / "a.tiff"], pixels_spec())
