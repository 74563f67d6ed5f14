"""Normals of what a depth picture shows."""

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera

SMOOTHED = 2  # pixels on each side: depth is a mean over samples, and noisy where a surface is soft


def normals_from_depth(
    depth: NDArray[np.float32],  # [H, W]
    camera: Camera,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> NDArray[np.float32]:
    """Unit normals in the world, towards the camera, float32 [H, W, 3]; NaN where a neighbour has no depth.

    On each axis, the neighbour whose disparity is nearer decides, so that silhouettes do not bend surfaces.

    Args:
        depth: z-depth, infinite where nothing is.
        camera: of the whole picture.
        rows: the part to look at.
        columns: of it.
    """
    height, width = depth.shape
    part = depth[rows, columns]
    if min(part.shape) < 3:
        return np.full((*part.shape, 3), np.nan, np.float32)
    a = ((np.arange(width, dtype=np.float32) + 0.5 - camera.cx) / camera.fx).astype(np.float32)[columns]
    b = (-(np.arange(height, dtype=np.float32) + 0.5 - camera.cy) / camera.fy).astype(np.float32)[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Disparity is linear in the picture where a surface is flat: its slopes are exact, whatever the perspective.
        disparity = np.where(np.isfinite(part), 1.0 / part, np.nan).astype(np.float32)
        along_x, along_y = (_slope(disparity, axis) for axis in (1, 0))
        # 1 / z = n . (a, b, -1) / d: the slopes by a and b, and what is left, are the plane's normal.
        by_a, by_b = along_x * camera.fx, -along_y * camera.fy
        local = np.stack([by_a, by_b, by_a * a + by_b * b[:, None] - disparity], axis=-1)
        local = -local / np.linalg.norm(local, axis=-1, keepdims=True)
    return (local @ camera.matrix[:3, :3].T.astype(np.float32)).astype(np.float32)


def _slope(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Change per pixel along an axis: of the two neighbours on both sides, the side that changes less."""
    moved = np.moveaxis(values, axis, 0)
    slope = np.full_like(moved, np.nan)
    reach = min(SMOOTHED, len(moved) - 1)
    forward, backward = np.full_like(moved, np.nan), np.full_like(moved, np.nan)
    forward[:-reach] = (moved[reach:] - moved[:-reach]) / reach
    backward[reach:] = forward[:-reach]
    smooth = np.abs(forward - backward) <= 0.5 * np.minimum(np.abs(forward), np.abs(backward)) + 1e-3 * np.abs(moved)
    slope = np.where(np.abs(forward) < np.abs(backward), forward, backward)
    slope = np.where(smooth, 0.5 * (forward + backward), slope)
    slope = np.where(np.isnan(forward), backward, np.where(np.isnan(backward), forward, slope))
    return np.moveaxis(slope, 0, axis)
