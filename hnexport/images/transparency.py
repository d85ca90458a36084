"""Pictures that are not opaque: onto a background, as a viewer shows them."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hnexport.errors import RuntimeInputError
from hnexport.reading import shown
from hnexport.spelling import spelled

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Colour", "onto_background", "parse_background"]

Colour = tuple[int, int, int]

_REMEDY = "give a name such as white, #ffffff, or three numbers from 0 to 255 such as 255,255,255"


def parse_background(background: object) -> Colour:
    """Red, green and blue, 0 to 255, from a name, `#rrggbb`, `R,G,B` or three numbers.

    Raises:
        RuntimeInputError: it is no such colour.
    """
    from PIL import ImageColor

    found: tuple[object, ...] = ()
    if isinstance(background, str):
        text = background.strip()
        with suppress(ValueError):
            found = tuple(int(part) for part in text.split(",")) if "," in text else ImageColor.getrgb(text)
    elif isinstance(background, tuple | list):
        found = tuple(background)
    numbers = tuple(int(one) for one in found if isinstance(one, int | np.integer) and not isinstance(one, bool))
    if len(found) != 3 or len(numbers) != 3 or not all(0 <= one <= 255 for one in numbers):
        raise RuntimeInputError(f"background {shown(background)} is no colour: {_REMEDY}")
    return numbers


def onto_background(
    picture: "Image.Image", background: Colour | None, path: Path, *, grey_bits: int = 8
) -> "Image.Image":
    """The picture without transparency; one whose pixels are all opaque keeps them.

    Args:
        grey_bits: of how many bits the file's grey values are, which its transparent value counts in.

    Raises:
        RuntimeInputError: a pixel is not opaque, and there is no background.
    """
    from PIL import Image

    clear = _with_alpha(picture, grey_bits)
    if clear is None:
        return picture
    colours, alpha = clear
    lowest, _ = alpha.getextrema()
    if lowest == 255:
        return colours.convert("RGB")
    if background is None:
        raise RuntimeInputError(
            f"{path} has pixels that are not opaque, and does not say what lies behind them: name the background that "
            "the training had, for instance " + spelled("background='white'", "--background white")
        )
    filled = Image.new("RGB", picture.size, background)
    filled.paste(colours, mask=alpha)  # of RGBA it takes the colours, without a copy
    return filled


def _with_alpha(picture: "Image.Image", grey_bits: int) -> "tuple[Image.Image, Image.Image] | None":
    """Colours (RGB or RGBA) and opacity (L); None where the picture has no transparency."""
    if not picture.has_transparency_data:
        return None
    key = picture.info.get("transparency")
    if picture.mode in ("1", "L", "RGB") and isinstance(key, int | tuple):
        if picture.mode != "RGB":
            key = int(key if isinstance(key, int) else key[0])
            # Pillow scales grey values of 1, 2 and 4 bits to 8, but of the transparent one only that of 1 bit
            key = 255 * bool(key) if picture.mode == "1" else key * 255 // (2**grey_bits - 1)
            picture = picture.convert("L")
        return picture.convert("RGB"), _opaque_where_not(picture, key)
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.mode != "RGBA":
        picture = picture.convert("RGBA")
    return picture, picture.getchannel("A")


def _opaque_where_not(picture: "Image.Image", key: int | tuple[int, ...]) -> "Image.Image":
    """L: 0 where the pixel has the transparent value, else 255."""
    from PIL import Image

    same = np.asarray(picture) == np.asarray(key)
    if same.ndim == 3:
        same = same.all(axis=-1)
    return Image.fromarray(np.where(same, 0, 255).astype(np.uint8))
