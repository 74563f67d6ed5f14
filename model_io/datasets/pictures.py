"""Photo files: finding them, their size, their pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..files.downloads import broken_download

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG")
Size = tuple[int, int]  # width, height in pixels


def find_picture(folder: Path, name: str) -> Path | None:
    """The file ``name`` of a folder, with or without a picture's extension, or None."""
    # The extension is added to the whole name: a name may have dots of its own.
    candidates = (folder / f"{name}{extension}" for extension in EXTENSIONS)
    return next((path for path in candidates if path.is_file()), None)


def picture_size(path: Path) -> Size:
    """Width and height; reads the header only.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        return image.size


def check_picture(path: Path) -> None:
    """Decode the whole picture.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        image.load()


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """The picture, uint8 [H, W, 3], or [H, W, 4] where the file has transparency.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        transparent = "A" in image.getbands() or "transparency" in image.info
        return np.asarray(image.convert("RGBA" if transparent else "RGB"))


@contextmanager
def opened(path: Path) -> "Iterator[Image.Image]":
    """A picture; whatever goes wrong with it is one DatasetError."""
    from PIL import Image  # here, so that a viewer starts without it

    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        broken = broken_download(path)
        said = f"expected a picture, got {broken}" if broken else f"cannot read this picture: {error}"
        raise DatasetError(f"{path}: {said}") from error
