"""The pixels that a scene can cover: only their rays have anything to train."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera
from kilonerf.model_io.scene.box import Box

from .bounds import in_camera

_BLOCK = 4  # voxels on each axis that are projected together
_MARGIN = 2.0  # pixels


def covered_pixels(
    cameras: Sequence[Camera],
    box: Box,
    occupied: NDArray[np.bool_],  # [ox, oy, oz]
) -> NDArray[np.int64]:
    """Pixels whose rays may meet an occupied voxel: a few too many, never too few.

    Blocks of voxels are projected as the spheres around them, and cover the square around a sphere's image.

    Args:
        cameras: of the views.
        box: what the voxels fill.
        occupied: the voxels.

    Returns:
        the pixels' places in the array of all views' pixels, view after view and row after row, rising; int64 [C].
    """
    voxel = box.size / occupied.shape
    padded = np.pad(occupied, [(0, -size % _BLOCK) for size in occupied.shape])
    blocks = padded.reshape([n for size in padded.shape for n in (size // _BLOCK, _BLOCK)]).any(axis=(1, 3, 5))
    centres = box.min + (np.argwhere(blocks) + 0.5) * _BLOCK * voxel
    radius = float(np.linalg.norm(voxel)) * _BLOCK / 2
    before, found = 0, []
    for camera in cameras:
        found.append(before + np.flatnonzero(_covered(camera, centres, radius)))
        before += camera.width * camera.height
    return np.concatenate(found)


def _covered(camera: Camera, centres: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Pixels [H, W] within the squares around the spheres' images."""
    x, y, z = in_camera(camera, centres.T) * np.array([[1], [-1], [-1]])
    if (abs(z) <= radius).any():
        return np.ones((camera.height, camera.width), np.bool_)  # the camera is among the voxels
    x, y, z = (axis[z > 0] for axis in (x, y, z))
    # A sphere's image reaches no farther from its centre's than radius / nearest depth, both ways seen obliquely.
    reach_x = camera.fx * radius * np.hypot(1, x / z) / (z - radius) + _MARGIN
    reach_y = camera.fy * radius * np.hypot(1, y / z) / (z - radius) + _MARGIN
    u, v = camera.cx + camera.fx * x / z, camera.cy + camera.fy * y / z
    left, right = (np.clip(edge, 0, camera.width).astype(np.int64) for edge in (u - reach_x, u + reach_x + 1))
    top, bottom = (np.clip(edge, 0, camera.height).astype(np.int64) for edge in (v - reach_y, v + reach_y + 1))
    # Squares are summed by their corners.
    row = camera.width + 1
    size = (camera.height + 1) * row
    counts = np.zeros(size, np.int64)
    for rows, columns, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        counts += sign * np.bincount(rows * row + columns, minlength=size)
    return counts.reshape(-1, row).cumsum(0).cumsum(1)[:-1, :-1] > 0
