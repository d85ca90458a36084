"""Which picture files are read, and what a file says of itself before its pixels are decoded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hnexport.errors import RuntimeInputError
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["FORMATS", "MOST_FRAMES", "Header", "choose_frame", "open_picture", "read_header"]

# What Pillow decodes within its own process: no PostScript, for which it starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")

MOST_FRAMES = 10_000  # so that no file keeps anybody waiting: coming to a frame may mean decoding those before it

_HEAD_BYTES = 2**16
_COUNTED_BYTES = 2**22  # the frames of a larger GIF are not counted: that takes seconds
_COUNTED_PAGES = 1000  # of a TIFF: the time goes with the square
_BITS_PER_SAMPLE = 258  # TIFF
_MP_ENTRIES = 0xB002  # of a JPEG that holds several pictures
_PREVIEW = "Large Thumbnail"


@dataclass(frozen=True, kw_only=True)
class Header:
    """Of the file itself, beside what Pillow makes of it.

    Attributes:
        size_bytes: of the file.
        bits: of one channel of one pixel.
    """

    size_bytes: int
    bits: int


def open_picture(file: BinaryIO, path: Path) -> "ImageFile":
    """The picture, its pixels not decoded yet.

    Raises:
        RuntimeInputError: the file is in none of the formats.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    readable = tuple(name for name in FORMATS if name in Image.OPEN)
    try:
        return Image.open(file, formats=readable)
    except UnidentifiedImageError as error:
        raise RuntimeInputError(
            f"{path} cannot be read as an image: it is damaged or in another format than {', '.join(readable)}; save "
            "it as PNG, or give .npy"
        ) from error


def read_header(picture: "ImageFile", file: BinaryIO) -> Header:
    """What Pillow does not say: the bits of a channel, where it cuts them to 8 without a word."""
    position = file.tell()
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    size_bytes = file.seek(0, 2)
    file.seek(position)
    return Header(size_bytes=size_bytes, bits=_bits(picture, head))


def choose_frame(picture: "ImageFile", frame: int | None, path: Path, size_bytes: int) -> None:
    """Stand on the frame or page that is meant.

    Raises:
        RuntimeInputError: there are several and none is named, or the named one does not exist.
    """
    if frame is None:
        if _has_several(picture):
            raise RuntimeInputError(
                f"{path} holds {_count(picture, size_bytes)} frames or pages: choose one, for instance the first with "
                + spelled("frame=0", "--frame 0")
            )
        return
    at = frame
    try:
        # page by page, for after a jump past the end Pillow counts the pages of a TIFF wrongly
        for at in range(frame + 1) if picture.format == "TIFF" else (frame,):
            picture.seek(at)
    except (EOFError, IndexError, OverflowError) as error:
        count = at if picture.format == "TIFF" else int(getattr(picture, "n_frames", 1))
        held = f"it holds {count}, numbered 0 to {count - 1}" if count > 1 else "it is one picture, frame 0"
        raise RuntimeInputError(f"{path} has no frame {frame}: {held}") from error


def _count(picture: "ImageFile", size_bytes: int) -> str:
    if picture.format == "GIF" and size_bytes > _COUNTED_BYTES:
        return "several"
    if picture.format != "TIFF":
        return str(getattr(picture, "n_frames", 1))
    for number in range(1, _COUNTED_PAGES):
        try:
            picture.seek(number)
        except EOFError:
            return str(number)
        except Exception:  # that page is damaged, which is not what is asked
            return f"at least {number}"
    return f"at least {_COUNTED_PAGES}"


def _has_several(picture: "ImageFile") -> bool:
    if not getattr(picture, "is_animated", False):
        return False
    entries = getattr(picture, "mpinfo", {}).get(_MP_ENTRIES, ())
    # cameras keep previews of a photograph behind it
    return not (entries and all(str(one["Attribute"]["MPType"]).startswith(_PREVIEW) for one in entries[1:]))


def _bits(picture: "ImageFile", head: bytes) -> int:
    if picture.mode in ("F", "I"):
        return 32
    if picture.mode.startswith("I;16"):
        return 16
    if picture.format == "PNG":
        return head[24]
    if picture.format == "AVIF":
        return _avif_bits(head)
    if picture.format == "TIFF":
        return max(int(one) for one in picture.tag_v2.get(_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    if picture.format == "PPM":
        most = [one for tile in picture.tile for one in (tile.args or ()) if isinstance(one, int)]
        return max([8, *(one.bit_length() for one in most)])
    return 8


def _avif_bits(head: bytes) -> int:
    """From the decoder configuration: `av1C`, version, profile and level, flags (high_bitdepth, twelve_bit)."""
    found = [head[start + 6] for start in _positions(head, b"av1C") if start + 6 < len(head)]
    return max([8, *(12 if flags & 0x20 else 10 for flags in found if flags & 0x40)])


def _positions(text: bytes, part: bytes) -> list[int]:
    positions, start = [], text.find(part)
    while start >= 0:
        positions.append(start)
        start = text.find(part, start + 1)
    return positions
