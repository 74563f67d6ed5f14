"""Axes and a ground grid as lines, and where the ground is if nobody has said so."""

import math

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Scene

from .view_cube import COLORS

GROUND_COLOR = (0.60, 0.63, 0.68)
GROUND_LINES = 20  # about so many on each side of the middle are the most
REACH = 2.2  # half of the grid's side, in radii of the scene's box
LOWEST_SHARE = 0.01
"""So much of what is occupied may lie below the ground: a few voxels of haze do not count."""
VOXELS = 40_000


def axis_lines(radius: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The world's axes from its origin, lines [3, 2, 3] and colours [3, 4]; ``radius`` in world units."""
    lines = np.zeros((3, 2, 3), np.float32)
    lines[:, 1] = radius * np.eye(3)
    colors = np.array([(*COLORS[name], 1.0) for name in "XYZ"], np.float32)
    return lines, colors


def ground_lines(
    world_from_level: NDArray[np.float64], height: float, middle: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A grid on the ground, lines [L, 2, 3] and colours [L, 4]; the lines fade away from the middle.

    Args:
        world_from_level: rotation [3, 3] whose last column is up.
        height: of the ground along up.
        middle: of the scene, world point [3].
        radius: of the scene, world units.
    """
    cell = cell_size(radius)
    count = math.ceil(REACH * radius / cell)
    centre = np.round((world_from_level.T @ middle)[:2] / cell)
    steps = np.arange(-count, count + 1)
    lines: list[NDArray[np.float64]] = []
    colors: list[NDArray[np.float64]] = []
    for axis in (0, 1):
        # Each line in pieces, so that it can fade along its way.
        along, across = np.meshgrid(steps[:-1], steps, indexing="ij")
        ends = np.empty((*along.shape, 2, 3))
        ends[..., 0, axis] = (centre[axis] + along) * cell
        ends[..., 1, axis] = (centre[axis] + along + 1) * cell
        ends[..., :, 1 - axis] = ((centre[1 - axis] + across) * cell)[..., None]
        ends[..., 2] = height
        far = np.hypot(along + 0.5, across) / count
        color = np.empty((*along.shape, 4))
        color[..., :3] = GROUND_COLOR
        tenth = (centre[1 - axis] + across) % 10 == 0
        color[..., 3] = np.where(tenth, 0.75, 0.38) * np.clip(1.0 - far, 0.0, 1.0)
        keep = color[..., 3] > 0.01
        lines.append(ends[keep])
        colors.append(color[keep])
    return (
        (np.concatenate(lines) @ world_from_level.T).astype(np.float32),
        np.concatenate(colors).astype(np.float32),
    )


def cell_size(radius: float) -> float:
    """Side of a cell of the grid: 1, 2 or 5 times a power of ten, world units."""
    wanted = REACH * radius / GROUND_LINES
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= wanted)


def lowest_height(scene: Scene, up: NDArray[np.float64]) -> float:
    """How high along ``up`` [3] the lowest of what the innermost box holds is; the box's own end if it is empty."""
    cells = scene.cells
    places = np.argwhere(cells.occupancy)
    box_min, size = scene.box.min.astype(np.float64), scene.box.size.astype(np.float64)
    if not len(places):
        corners = box_min + size * np.array(np.meshgrid(*[(0.0, 1.0)] * 3)).reshape(3, -1).T
        return float((corners @ up).min())
    places = places[:: max(1, len(places) // VOXELS)]
    points = box_min + (places + 0.5) / cells.occupancy.shape * size
    voxel = float(size / cells.occupancy.shape @ np.abs(up))
    return float(np.quantile(points @ up, LOWEST_SHARE)) - 0.5 * voxel
