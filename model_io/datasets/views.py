"""What a data set is made of: views and their photos."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..camera.camera import Camera
from ..errors import DatasetError
from .inspection import Inspection
from .lens import Lens, straighten
from .pictures import EXTENSIONS, Size, read_pixels

SPLITS = ("train", "val", "test")
HOLD_OUT = 8  # where a data set names no splits, every 8th view is for testing, as NeRF does for photographs
PathLike = str | os.PathLike[str]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """One camera of a data set.

    Attributes:
        camera: OpenGL axes, pixel centres at +0.5; that of the straightened photo where its lens distorts.
        image_path: its photo, or None where the data set has poses only.
        name: its name in the data set, as "r_0".
        lens: the lens of the photo's file where it distorts, else None.
    """

    camera: Camera
    image_path: Path | None
    name: str
    lens: Lens | None = None


@dataclass(frozen=True)
class Dataset:
    """A split of a data set.

    Attributes:
        kind: "blender", "nsvf", "nerfstudio" or "colmap".
        views: its cameras, in the data set's order.
        near: z-depth of the first sample, where the data set says it.
        far: z-depth of the last sample, where the data set says it.
        background: RGB in [0, 1], where the data set says it.
        bounding_box: lower and upper corner, where the data set says it.
        points: sparse points of the surface, float64 [P, 3], where the data set has any.
    """

    kind: str
    views: list[View]
    near: float | None = None
    far: float | None = None
    background: Vector | None = None
    bounding_box: tuple[Vector, Vector] | None = None
    points: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)


def load_pixels(view: View) -> NDArray[np.uint8]:
    """A view's photo, straightened, uint8 [H, W, 3], or [H, W, 4] where it has transparency.

    Raises:
        DatasetError: the view has no photo, or it cannot be read or has not the camera's size.
    """
    if view.image_path is None:
        raise DatasetError(f"view {view.name}: expected a photo, got none in this data set")
    pixels = read_pixels(view.image_path)
    lens = view.camera if view.lens is None else view.lens
    if pixels.shape[:2] != (lens.height, lens.width):
        got = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise DatasetError(f"{view.image_path}: expected {lens.width}x{lens.height} pixels, got {got}")
    return pixels if view.lens is None else straighten(pixels, view.lens)


def load_image(view: View, background: Vector = (1.0, 1.0, 1.0)) -> NDArray[np.float32]:
    """A view's photo, float32 [H, W, 3] in [0, 1], laid over ``background`` where it is transparent.

    Raises:
        DatasetError: as :func:`load_pixels`.
    """
    pixels = load_pixels(view).astype(np.float32) / np.float32(255)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:]
    blended = pixels[..., :3] * alpha + (1 - alpha) * np.asarray(background, dtype=np.float32)
    return blended.astype(np.float32, copy=False)


def known_split(split: str) -> str:
    """``split``, if it is one.

    Raises:
        DatasetError: it is none.
    """
    if split not in SPLITS:
        raise DatasetError(f"split: expected one of {', '.join(SPLITS)}, got {split!r:.40}")
    return split


def held_out(names: list[str], split: str) -> list[int]:
    """Which views a split has where the data set names none: in the order of their names, every 8th is for testing.

    Raises:
        DatasetError: there is no such split.
    """
    order = sorted(range(len(names)), key=lambda index: names[index])
    if split == "test":
        return order[::HOLD_OUT]
    if split == "train":
        return [index for position, index in enumerate(order) if position % HOLD_OUT]
    raise DatasetError(f"split: expected train or test (this data set names no splits), got {split}")


def view_name(file_path: str) -> str:
    """A view's name from its photo's path."""
    path = Path(file_path)
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def all_or_none(where: Path, images: list[Path | None], names: list[str], inspection: Inspection) -> None:
    """A data set has photos for every pose or, as a bare list of poses, for none."""
    missing = [name for image, name in zip(images, names, strict=True) if image is None]
    if len(missing) < len(names):
        for name in missing:
            inspection.add(f"{where}: expected a photo for every pose, got none for {name}")


def common_size(images: list[Path | None], inspection: Inspection) -> Size | None:
    """The size that photos have, by majority; the others are faults. None if there are none."""
    sizes = {path: inspection.photo_size(path) for path in images if path is not None}
    whole = {path: size for path, size in sizes.items() if size is not None}
    if not whole:
        return None
    expected = Counter(whole.values()).most_common(1)[0][0]
    for path, size in whole.items():
        if size != expected:
            fault = f"{path}: expected {expected[0]}x{expected[1]} as the others, got {size[0]}x{size[1]}"
            inspection.photo_fault(path, fault)
    return expected
