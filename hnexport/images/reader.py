"""One picture, or one file of arrays, as a graph takes it."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnexport.errors import RuntimeInputError
from hnexport.images.arrays import read_array
from hnexport.images.normalising import AppliedNormalisation, applied_to, arranged, required
from hnexport.images.pictures import PictureOptions, decode_picture, read_picture
from hnexport.runtime.validation import require_path
from hnexport.spec.images import ImageInput
from hnexport.spec.usage import Normalisation

__all__ = ["PictureReader"]


@dataclass(frozen=True, kw_only=True)
class PictureReader:
    """What reads pictures for an input, as `read_images` was told."""

    image: ImageInput
    options: PictureOptions
    normalisation: Normalisation | None

    @classmethod
    def of(
        cls,
        image: ImageInput | None,
        *,
        normalisation: Normalisation | None = None,
        resize: bool = False,
        background: str | tuple[int, int, int] | None = None,
        frame: int | None = None,
    ) -> "PictureReader":
        """Checked; the arguments are those of `read_images`.

        Raises:
            RuntimeInputError: the network takes no pictures, or an argument has a value that it cannot have.
            SpecError: mean or std do not fit the channels.
        """
        image = required(image)
        if normalisation is not None:
            applied_to(image, normalisation, "")  # also where every file is an array
        options = PictureOptions.of(resize=resize, background=background, frame=frame)
        return cls(image=image, options=options, normalisation=normalisation)

    def applied(self, subject: str) -> AppliedNormalisation:
        """How pictures are normalised; as `applied_to`."""
        return applied_to(self.image, self.normalisation, subject)

    def file(self, path: str | os.PathLike[str]) -> tuple[NDArray[Any], AppliedNormalisation | None]:
        """`[sample, …]`: one sample of a picture, as many as it holds of a `.npy` file, which is not normalised.

        Raises:
            RuntimeInputError: the file cannot be read or is not what the graph takes.
        """
        path = require_path("an image", path)
        if path.is_dir():
            raise RuntimeInputError(
                f"{path} cannot be read as an image, it is a folder: give the files in it, such as {path / '*.png'}; "
                "`hnexport predict BUNDLE FOLDER --out predictions.parquet` scores a whole one"
            )
        if path.suffix.lower() == ".npy":
            return read_array(path, self.image.tensor), None
        if path.suffix.lower() == ".npz":
            raise RuntimeInputError(f"{path} is an archive of arrays (.npz): save the one with the images as .npy")
        applied = self.applied(str(path))
        return arranged(read_picture(path, self.image, self.options)[np.newaxis], self.image, applied), applied

    def content(self, content: bytes, subject: str) -> tuple[NDArray[Any], AppliedNormalisation]:
        """`[1, …]` of an encoded picture in memory; `subject` is its name in messages.

        Raises:
            RuntimeInputError: it cannot be read or is not what the graph takes.
        """
        applied = self.applied(subject)
        pixels = decode_picture(io.BytesIO(content), Path(subject), self.image, self.options)
        return arranged(pixels[np.newaxis], self.image, applied), applied
