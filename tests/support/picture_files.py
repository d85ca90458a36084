"""Picture files of every format, and the specification of a graph that takes them."""

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hnexport import images
from hnexport.images import ImageBatch
from hnexport.networks.wide_resnet.family import image_input
from hnexport.networks.wide_resnet.spec import ImageLayout, ImageSpec, PipelineSpec, PreprocessSpec, WideResNetSpec
from hnexport.spec.usage import Normalisation


def read_images(paths: list[Any], spec: PipelineSpec, **options: Any) -> ImageBatch:
    """`hnexport.images.read_images` for the image input of a pipeline, one of float32 trained on `pixel / 255`."""
    image = image_input(spec)
    plain = None if image.tensor.dtype == "uint8" else Normalisation()
    return images.read_images(paths, replace(image, normalisation=plain), **options)


def pixels_spec(height: int = 6, width: int = 9, channels: int = 3) -> PipelineSpec:
    """A graph that takes the pixels themselves: uint8 [batch, height, width, channel]."""
    return PipelineSpec(
        network=WideResNetSpec(
            blocks_per_group=1, widening=1, image=ImageSpec(channels=channels, height=height, width=width)
        ),
        members=1,
        image_layout=ImageLayout.NHWC,
        preprocess=PreprocessSpec(mean=(0.5,) * channels, std=(0.2,) * channels),
    )


def png(values: Any, *, bits: int, colour: int, chunks: bytes | list[Any] = b"") -> bytes:
    """A PNG written by hand from rows of big-endian samples; `colour` is the type of the PNG specification."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    rows = values.reshape(height, -1)
    if bits < 8:
        flat = (rows[..., np.newaxis] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(flat.reshape(height, -1).astype(np.uint8), axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    extra = b"".join(chunk(name, content) for name, content in chunks)  # type: ignore[misc] # mypy cannot infer it
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(values: NDArray[Any] | NDArray[np.unsignedinteger], *, photometric: int, extra: int | None = None) -> Any:
    """An uncompressed little-endian TIFF written by hand, uint8 or uint16 `[height, width, sample]`.

    `photometric` is 1 for grey, 2 for RGB; `extra` 1 for an alpha that the colours are multiplied with, 2 for another.
    """
    height, width, samples = values.shape
    rows = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, values.itemsize * 8),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 0),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, values.nbytes),
        *([(338, 3, 1, extra)] if extra else []),
    ]
    end = 8 + 2 + 12 * len(rows) + 4
    bits = struct.pack(f"<{samples}H", *[values.itemsize * 8] * samples)
    inline = int.from_bytes(bits, "little") if len(bits) <= 4 else end
    found = {258: inline, 273: end + len(bits)}
    ifd = b"".join(struct.pack("<HHII", tag, kind, count, found.get(tag, value)) for tag, kind, count, value in rows)
    start = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(rows))
    return start + ifd + bytes(4) + bits + values.astype(values.dtype.newbyteorder("<")).tobytes()


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file. (A copy is saved: Pillow leaves settings of one format on what it saved.)"""
    stream = io.BytesIO()
    picture.copy().save(stream, kind, **options)
    return stream.getvalue()


def seeds(size: tuple[int, int] = (32, 32)) -> dict[Any, Any]:
    """A whole file of each kind, small."""
    random = np.random.default_rng(7)
    width, height = size
    picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    picture = picture.filter(ImageFilter.GaussianBlur(2))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 3, "text"

    def several() -> dict[Any, Any]:
        return {"save_all": True, "append_images": [picture.rotate(90), picture.rotate(180)]}

    array = io.BytesIO()
    np.save(array, random.standard_normal((2, 3, height, width)).astype(np.float32))
    return {
        "png": encoded(picture, "PNG", exif=exif),
        "png palette": encoded(picture.quantize(16), "PNG", transparency=0),
        "apng": encoded(picture, "PNG", **several()),
        "jpeg": encoded(picture, "JPEG", exif=exif),
        "mpo": encoded(picture, "MPO", **several()),
        "webp": encoded(picture, "WEBP", lossless=True, exif=exif),
        "webp animation": encoded(picture, "WEBP", **several()),
        "avif": encoded(picture, "AVIF"),
        "gif": encoded(picture, "GIF"),
        "gif animation": encoded(picture, "GIF", **several()),
        "bmp": encoded(picture, "BMP"),
        "tiff": encoded(picture, "TIFF", exif=exif),
        "tiff deflate": encoded(picture, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": encoded(picture, "TIFF", compression="jpeg"),
        "tiff pages": encoded(picture, "TIFF", **several()),
        "ppm": encoded(picture, "PPM"),
        "pgm": encoded(picture.convert("L"), "PPM"),
        "npy": array.getvalue(),
    }
