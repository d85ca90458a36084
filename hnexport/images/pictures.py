"""One picture file as pixels: upright, opaque, 8 bits a channel, in the graph's size."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.files import open_file, warnings_logged
from hnexport.images.formats import MOST_FRAMES, choose_frame, open_picture, read_header
from hnexport.images.transparency import Colour, onto_background, parse_background
from hnexport.reading import shown
from hnexport.runtime.validation import require_count, require_flag
from hnexport.spec.images import ImageInput
from hnexport.spelling import spelled
from hnexport.text import shorten

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

__all__ = ["MOST_BYTES", "MOST_PIXELS", "PictureOptions", "decode_picture", "read_picture"]

logger = logging.getLogger(__name__)

MOST_PIXELS = 2**26  # a quarter of a GiB as Pillow keeps them, and up to three copies at a time
MOST_BYTES = 2**29  # of a file; some decoders read all of it first

_MODES = {1: "L", 3: "RGB"}
_FAX = ("group3", "group4", "tiff_ccitt")  # libtiff goes on after a bad code
_READ_MODES = ("1", "L", "P", "RGB", "RGBX", "LA", "PA", "La", "RGBA", "RGBa", "CMYK", "YCbCr")


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What `read_images` was told about pictures; see there."""

    resize: bool = False
    background: Colour | None = None
    frame: int | None = None

    @classmethod
    def of(cls, *, resize: object, background: object, frame: int | None) -> "PictureOptions":
        """Checked.

        Raises:
            RuntimeInputError: one has a value that it cannot have.
        """
        require_flag("resize", resize)
        if frame is not None:
            require_count("frame", frame, least=0)
            if frame >= MOST_FRAMES:
                raise RuntimeInputError(f"frame must be below {MOST_FRAMES:,}, found {shown(frame)}")
        colour = None if background is None else parse_background(background)
        return cls(resize=bool(resize), background=colour, frame=frame)


def read_picture(path: Path, image: ImageInput, options: PictureOptions) -> NDArray[np.uint8]:
    """uint8 `[height, width, channel]`.

    Raises:
        RuntimeInputError: the file is not a picture that is read, or not one that the graph takes as it is.
    """
    with open_file(path, "an image") as file:
        return decode_picture(file, path, image, options)


def decode_picture(file: BinaryIO, path: Path, image: ImageInput, options: PictureOptions) -> NDArray[np.uint8]:
    """The same from an open file that can be sought; `path` is its name in messages."""
    if image.channels not in _MODES:
        raise RuntimeInputError(f"{path}: this graph takes {image.channels} channels, give its images as .npy")
    with warnings_logged(path):
        try:
            picture = _decode(file, path, image, options).convert(_MODES[image.channels])
            if picture.size != (image.width, image.height):
                _require_size(picture.size, image, path, resize=options.resize)
                picture = _resized(picture, image)
            return np.asarray(picture, dtype=np.uint8).reshape(image.height, image.width, image.channels)
        except RuntimeInputError:
            raise
        except Exception as error:  # a decoder may raise almost anything on damaged bytes
            raise RuntimeInputError(f"{path} cannot be read as an image: {_reason(error)}") from error


def _decode(file: BinaryIO, path: Path, image: ImageInput, options: PictureOptions) -> "Image.Image":
    """Upright and opaque, 1, L or RGB, in the file's size; what can be refused is, before anything is decoded."""
    with open_picture(file, path) as picture:
        header = read_header(picture, file)
        if header.size_bytes > MOST_BYTES:
            raise RuntimeInputError(f"{path} has {header.size_bytes:,} bytes, pictures are read up to {MOST_BYTES:,}")
        _require_pixels(picture.size, path)  # coming to a later frame decodes those before it
        choose_frame(picture, options.frame, path, header.size_bytes)
        bits = max(header.bits, read_header(picture, file).bits)  # pages may differ
        _require_plain_pixels(picture, bits, path)
        _require_pixels(picture.size, path)
        if sorted(picture.size) != sorted((image.width, image.height)):  # it may stand on its side
            _require_size(picture.size, image, path, resize=options.resize)
        picture.load()
        opaque = onto_background(picture, options.background, path, grey_bits=min(8, max(1, bits)))
        colours = opaque if opaque.mode in ("1", "L", "RGB") else opaque.convert("RGB")
        return _upright(colours, _orientation(picture, path))


def _require_plain_pixels(picture: "ImageFile", bits: int, path: Path) -> None:
    """Refuse what would be cut or converted by guessing."""
    found = ""
    if bits > 8:
        found = f"has more than 8 bits a channel ({bits}, mode {picture.mode}), which would be cut: save it with 8 bits"
    elif picture.mode not in _READ_MODES:
        found = f"has no RGB or grey pixels ({picture.mode}): save it as RGB"
    elif picture.format == "TIFF" and picture.info.get("compression") in _FAX:
        found = f"is a fax ({picture.info['compression']}), whose damage goes unnoticed: save it as PNG"
    if found:
        raise RuntimeInputError(f"{path} {found}, or give .npy")


def _orientation(picture: "Image.Image", path: Path) -> int:
    """As EXIF numbers it, 1 to 8; 1 where that is damaged. (Of a TIFF Pillow has applied and removed it already.)"""
    from PIL import ExifTags

    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:
        logger.info("%s: its EXIF data cannot be read, so it is taken to be upright: %s", path, shorten(error))
        return 1
    return orientation if isinstance(orientation, int) else 1


def _upright(picture: "Image.Image", orientation: int) -> "Image.Image":
    from PIL.Image import Transpose

    moves = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(moves[orientation]) if orientation in moves else picture


def _require_size(size: tuple[int, int], image: ImageInput, path: Path, *, resize: bool) -> None:
    if not resize:
        raise RuntimeInputError(
            f"{path} is {size[0]}x{size[1]} pixels (width x height), this graph takes {image.width}x{image.height}: "
            f"scale it, or give {spelled('resize=True', '--resize')}"
        )


def _resized(picture: "Image.Image", image: ImageInput) -> "Image.Image":
    from PIL import Image

    return picture.resize((image.width, image.height), Image.Resampling.BICUBIC)


def _require_pixels(size: tuple[int, int], path: Path) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise RuntimeInputError(
            f"{path} has more pixels ({size[0]}x{size[1]}) than are read ({MOST_PIXELS:,}): scale it first"
        )


def _reason(error: Exception) -> str:
    from PIL import Image

    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than are read ({MOST_PIXELS:,}); scale it first"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is; scale it first"
    return shorten(error) or type(error).__name__
