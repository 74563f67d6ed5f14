"""What is asked before the cells themselves: boxes around groups of neighbouring cells, and the box around them all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera
from kilonerf.model_io.scene.cells import Cells

TILE = 16  # pixels, as in visits.cuh
MAX_GROUPS = 512  # as in scene.cuh
EDGE = 4  # cells of a group on each axis, or more where there would be too many groups
PIXELS = 1.5  # pixel centres lie at +0.5; one more covers the rounding of rays

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of leaves.

    Attributes:
        of_leaf: int32 [L], the group of each leaf.
        boxes: float32 [G, 2, 3], around the boxes that rays are clipped to.
    """

    of_leaf: NDArray[np.int32]
    boxes: NDArray[np.float32]

    @classmethod
    def of(cls, levels: Sequence[Cells], leaves: NDArray[np.void], *, ess: bool) -> "Groups":
        """Group the leaves of all levels, ``CELL`` [L]; with ESS on, empty ones count for nothing."""
        edge = EDGE
        while True:
            keys = np.concatenate(
                [
                    np.column_stack([np.full(len(cells.leaves), number), cells.leaves // edge])
                    for number, cells in enumerate(levels)
                ]
            )
            found, of_leaf = np.unique(keys, axis=0, return_inverse=True)
            if len(found) <= MAX_GROUPS:
                break
            edge *= 2
        boxes = np.empty((len(found), 2, 3), np.float32)
        boxes[:, 0], boxes[:, 1] = np.inf, -np.inf  # met by no tile
        counts = leaves["occupied"] != 0 if ess else np.ones(len(leaves), bool)
        of_leaf = of_leaf.reshape(-1).astype(np.int32)
        np.minimum.at(boxes[:, 0], of_leaf[counts], leaves["clip_min"][counts])
        np.maximum.at(boxes[:, 1], of_leaf[counts], leaves["clip_max"][counts])
        return cls(of_leaf, boxes)

    def box(self) -> NDArray[np.float32]:
        """The box around them all, [2, 3]; inverted if there is nothing."""
        if not len(self.boxes):
            return np.array([[np.inf] * 3, [-np.inf] * 3], np.float32)
        return np.stack([self.boxes[:, 0].min(axis=0), self.boxes[:, 1].max(axis=0)])


def seen_tiles(camera: Camera, box: NDArray[np.floating]) -> Rectangle:
    """The tiles whose rays may meet a box [2, 3] in the world: first column and row, end column and row.

    Nothing if it lies behind the camera, everything if it reaches behind it.
    """
    everything = (0, 0, -(-camera.width // TILE), -(-camera.height // TILE))
    nothing = (0, 0, 0, 0)
    if not (box[0] <= box[1]).all():
        return nothing
    try:
        to_camera = np.linalg.inv(camera.matrix[:3, :3].astype(np.float64))
    except np.linalg.LinAlgError:
        return everything
    x, y, z = to_camera @ (box.astype(np.float64)[_CORNERS, (0, 1, 2)] - camera.matrix[:3, 3]).T
    z = -z
    behind = z <= 1e-6 * (np.abs(x) + np.abs(y))
    if behind.any():
        return nothing if (z < 0).all() else everything
    x0, x1 = _tile_range(camera.cx + camera.fx * x / z, camera.width)
    y0, y1 = _tile_range(camera.cy - camera.fy * y / z, camera.height)
    return x0, y0, x1, y1


def _tile_range(pixels: NDArray[np.float64], limit: int) -> tuple[int, int]:
    low, high = float(pixels.min()) - PIXELS, float(pixels.max()) + PIXELS
    return int(min(max(low, 0.0), limit)) // TILE, -(-int(min(max(high + 1.0, 0.0), limit)) // TILE)


_CORNERS = np.array([[corner >> axis & 1 for axis in range(3)] for corner in range(8)])
