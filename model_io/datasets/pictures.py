"""Picture files: their size, their pixels, what is wrong with them."""

import os
import warnings
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

Size = tuple[int, int]  # width, height in pixels
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_ORDINARY = 50_000_000  # pixels of a picture that is read without another look
_BEST_COMPRESSION = 1100  # deflate makes nothing smaller than by this factor
_BYTES_PER_PIXEL = 16  # of memory while a picture is decoded, generously


def picture_size(path: Path) -> Size:
    """Width and height; reads the header only.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        return image.size


def orientation(path: Path) -> int:
    """How the camera was held, by EXIF: 1 upright, 2 to 8 mirrored or turned.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        return _orientation(image)


def check_picture(path: Path) -> None:
    """Decode the whole picture.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        image.load()


def read_pixels(path: Path, expected: Size | None = None) -> NDArray[np.uint8]:
    """The picture, uint8 [H, W, 3], or [H, W, 4] where any of it is transparent.

    Args:
        path: its file.
        expected: width and height. Poses are of the pixels as stored or of the picture turned upright by its EXIF
            orientation: where the size tells which, that is taken; else the pixels are as stored, as COLMAP reads them.

    Raises:
        DatasetError: the file cannot be read as a picture.
    """
    with opened(path) as image:
        turned = expected is not None and image.size != expected and image.size[::-1] == expected
        if turned and _orientation(image) >= 5:  # those that exchange width and height
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        return _eight_bits(path, image)


def read_mask(path: Path, size: Size) -> NDArray[np.uint8]:
    """A grey picture, uint8 [H, W]; one of another resolution is brought to ``size``, each pixel from the nearest.

    Raises:
        DatasetError: the file cannot be read as a picture, or is not of this shape.
    """
    with opened(path) as image:
        width, height = image.size
        if abs(width * size[1] - height * size[0]) > max(width, height, *size):
            raise DatasetError(f"{path}: expected a mask of {size[0]}x{size[1]} as its photo, got {width}x{height}")
        grey = _eight_bits(path, image)
    if image.size != size:
        rows = (np.arange(size[1]) + 0.5) * height / size[1]
        columns = (np.arange(size[0]) + 0.5) * width / size[0]
        grey = grey[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
    if grey.shape[2] == 4:
        return grey[..., :3].max(axis=-1) * (grey[..., 3] > 0).astype(np.uint8)
    return grey.max(axis=-1)


@contextmanager
def opened(path: Path) -> "Iterator[Image.Image]":
    """A picture; whatever goes wrong with it is one DatasetError."""
    from PIL import Image, UnidentifiedImageError  # here, so that a viewer starts without it

    broken = broken_download(path)
    if broken is not None:
        raise DatasetError(f"{path}: cannot read this picture: got {broken}")
    try:
        with _own_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that nobody needs here
            with Image.open(path) as image:
                _check_memory(path, image.size)
                yield image
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path}: cannot read this picture: expected PNG, JPEG, WebP or TIFF") from error
    except MemoryError as error:
        raise DatasetError(f"{path}: cannot read this picture: not enough memory") from error
    except PermissionError as error:
        raise DatasetError(f"{path}: cannot read this picture: permission denied") from error
    except DatasetError:
        raise
    except Exception as error:  # broken pictures make Pillow raise nearly anything
        raise DatasetError(f"{path}: cannot read this picture: it is damaged or ends too early") from error


@contextmanager
def _own_limit() -> Iterator[None]:
    """In place of Pillow's limit on a picture's size, which panoramas and scans exceed, :func:`_check_memory`."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _check_memory(path: Path, size: Size) -> None:
    """A large picture needs as much memory, and so many bytes in its file that its pixels can be in them.

    Raises:
        DatasetError: it does not have them.
    """
    pixels = size[0] * size[1]
    if pixels <= _ORDINARY:
        return
    bytes_in_file = path.stat().st_size
    if bytes_in_file * _BEST_COMPRESSION < pixels:
        raise DatasetError(
            f"{path}: cannot read this picture: its header says {size[0]}x{size[1]} pixels, which are not in its "
            f"{bytes_in_file} bytes"
        )
    available = _available_memory()
    if available is not None and pixels * _BYTES_PER_PIXEL > available:
        raise DatasetError(
            f"{path}: cannot read this picture: expected {pixels * _BYTES_PER_PIXEL / 2**30:.1f} GiB of free memory "
            f"for its {size[0]}x{size[1]} pixels, got {available / 2**30:.1f} GiB; make it smaller"
        )


def _available_memory() -> int | None:
    """Bytes; None if this system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _orientation(image: "Image.Image") -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _eight_bits(path: Path, image: "Image.Image") -> NDArray[np.uint8]:
    """Whatever Pillow's mode, as uint8 [H, W, 3 or 4]."""
    if image.mode == "F":
        raise DatasetError(
            f"{path}: cannot read this picture: expected 8 or 16 bits a channel, got floating-point numbers"
        )
    if image.mode.startswith("I"):  # grey of 16 bits; Pillow would clip it to 8
        grey = np.asarray(image).astype(np.int64)
        if grey.max(initial=0) > 255 or image.mode != "I":
            grey = (np.clip(grey, 0, 65535) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    if "A" not in image.getbands() and "a" not in image.getbands() and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA"))
    # A channel that says nothing shall change nothing: one such photo would take the plain background from all.
    return pixels if pixels[..., 3].min(initial=255) < 255 else np.ascontiguousarray(pixels[..., :3])
