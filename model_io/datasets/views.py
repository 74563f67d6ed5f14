"""What a data set is made of: views and their photos."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..camera.camera import Camera
from ..errors import DatasetError
from .lens import Lens, straighten, straighten_mask
from .pictures import read_mask, read_pixels

SPLITS = ("train", "val", "test")
HOLD_OUT = 8  # where a data set names no splits, every 8th view is for testing, as NeRF does for photographs
PathLike = str | os.PathLike[str]
Vector = tuple[float, float, float]
Box = tuple[Vector, Vector]  # lower and upper corner


@dataclass(frozen=True)
class Mask:
    """Which pixels of a photo are to be learnt.

    Attributes:
        path: a grey picture of the photo's shape.
        hides_white: whether white pixels are left out (instant-ngp's ``dynamic_mask_*``) or black ones (nerfstudio's
            ``mask_path``).
    """

    path: Path
    hides_white: bool = False


@dataclass(frozen=True)
class View:
    """One camera of a data set.

    Attributes:
        camera: OpenGL axes, pixel centres at +0.5; that of the straightened photo where its lens distorts.
        image_path: its photo, or None where the data set has poses only.
        name: its name in the data set, as "r_0"; no two views of a data set have the same.
        lens: the lens of the photo's file where it distorts, else None.
        mask: of the photo, where it has one.
    """

    camera: Camera
    image_path: Path | None
    name: str
    lens: Lens | None = None
    mask: Mask | None = None


@dataclass(frozen=True)
class Dataset:
    """A split of a data set.

    Attributes:
        kind: "blender", "nsvf", "nerfstudio", "colmap" or "llff".
        views: its cameras, in the data set's order.
        near: z-depth of the first sample, where the data set says it.
        far: z-depth of the last sample, where the data set says it.
        background: RGB in [0, 1], where the data set says it.
        bounding_box: lower and upper corner, where the data set says it.
        points: sparse points of the surface, float64 [P, 3], where the data set has any.
        sightings: which of its views saw which of the points, int64 [S, 2], where the data set says it.
        region: a box that holds the scene and maybe much else (instant-ngp's ``aabb_scale``; what LLFF's cameras see
            between near and far), where the data set says one: a hint for where nothing better is known.
        notes: lines for the user: what was left out or changed, and why.
    """

    kind: str
    views: list[View]
    near: float | None = None
    far: float | None = None
    background: Vector | None = None
    bounding_box: Box | None = None
    points: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    sightings: NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
    region: Box | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)


def load_pixels(view: View) -> NDArray[np.uint8]:
    """A view's photo, straightened, uint8 [H, W, 3], or [H, W, 4] where any of it is transparent.

    Raises:
        DatasetError: the view has no photo, or it cannot be read or has not the camera's size.
    """
    if view.image_path is None:
        raise DatasetError(f"view {view.name}: expected a photo, got none in this data set")
    lens = view.camera if view.lens is None else view.lens
    pixels = read_pixels(view.image_path, (lens.width, lens.height))
    if pixels.shape[:2] != (lens.height, lens.width):
        got = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise DatasetError(f"{view.image_path}: expected {lens.width}x{lens.height} pixels, got {got}")
    return pixels if view.lens is None else straighten(pixels, view.lens)


def load_mask(view: View) -> NDArray[np.bool_] | None:
    """Which pixels of a view's straightened photo are to be learnt, bool [H, W]; None where it has no mask.

    Raises:
        DatasetError: the mask cannot be read or has not the photo's shape.
    """
    if view.mask is None:
        return None
    lens = view.camera if view.lens is None else view.lens
    grey = read_mask(view.mask.path, (lens.width, lens.height))
    learnt = grey == 0 if view.mask.hides_white else grey > 127
    return learnt if view.lens is None else straighten_mask(learnt, view.lens)


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


def held_out(names: Sequence[str], split: str) -> list[int]:
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
