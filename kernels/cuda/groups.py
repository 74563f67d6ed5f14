"""What is asked before the cells themselves: boxes around groups of neighbouring cells, and the box around them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera
from kilonerf.model_io.scene.cells import Cells

from ..native.grid import visited_cells

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
        of_leaf = of_leaf.reshape(-1).astype(np.int32)
        return cls(of_leaf, _boxes(of_leaf, len(found), leaves, ess=ess))

    def around(self, leaves: NDArray[np.void], *, ess: bool) -> "Groups":
        """The same groups of leaves whose boxes have changed, ``CELL`` [L]."""
        return Groups(self.of_leaf, _boxes(self.of_leaf, len(self.boxes), leaves, ess=ess))

    @cached_property
    def box(self) -> NDArray[np.float32]:
        """The box around them all, [2, 3]; inverted if there is nothing."""
        if not len(self.boxes):
            return np.array([[np.inf] * 3, [-np.inf] * 3], np.float32)
        return np.stack([self.boxes[:, 0].min(axis=0), self.boxes[:, 1].max(axis=0)])


def _boxes(of_leaf: NDArray[np.int32], groups: int, leaves: NDArray[np.void], *, ess: bool) -> NDArray[np.float32]:
    """The box around the leaves of each group in which rays may take samples, [G, 2, 3]."""
    boxes = np.empty((groups, 2, 3), np.float32)
    boxes[:, 0], boxes[:, 1] = np.inf, -np.inf  # met by no tile
    counts = visited_cells(leaves, ess=ess)
    np.minimum.at(boxes[:, 0], of_leaf[counts], leaves["clip_min"][counts])
    np.maximum.at(boxes[:, 1], of_leaf[counts], leaves["clip_max"][counts])
    return boxes


def seen_tiles(camera: Camera, low: Sequence[float], high: Sequence[float]) -> Rectangle:
    """The tiles whose rays may meet a box in the world: first column and row, end column and row.

    Nothing if it lies behind the camera, everything if it reaches behind it. Plain numbers: it is asked for each frame,
    and arrays of three would take ten times as long.
    """
    columns, rows = -(-camera.width // TILE), -(-camera.height // TILE)
    (a, b, c, x), (d, e, f, y), (g, h, i, z), _ = camera.c2w
    # Cofactors: rows of the inverse of the rotation (which may hold a scale), times its determinant.
    right = (e * i - f * h, c * h - b * i, b * f - c * e)
    up = (f * g - d * i, a * i - c * g, c * d - a * f)
    back = (d * h - e * g, b * g - a * h, a * e - b * d)
    determinant = a * right[0] + b * up[0] + c * back[0]
    if not low[0] <= high[0]:
        return 0, 0, 0, 0
    if not abs(determinant) > 1e-30:
        return 0, 0, columns, rows
    corners = [(p - x, q - y, r - z) for p in (low[0], high[0]) for q in (low[1], high[1]) for r in (low[2], high[2])]
    fx, fy, sign = camera.fx, camera.fy, 1.0 if determinant > 0 else -1.0
    across: list[float] = []
    down: list[float] = []
    behind = hidden = 0
    for p, q, r in corners:
        u = sign * (right[0] * p + right[1] * q + right[2] * r)
        v = sign * (up[0] * p + up[1] * q + up[2] * r)
        w = -sign * (back[0] * p + back[1] * q + back[2] * r)
        if w <= 1e-6 * (abs(u) + abs(v)):
            hidden += 1
            behind += w < 0
        else:
            across.append(fx * u / w)
            down.append(fy * v / w)
    if hidden:
        return (0, 0, 0, 0) if behind == len(corners) else (0, 0, columns, rows)
    x0, x1 = _tile_range(camera.cx + min(across), camera.cx + max(across), camera.width)
    y0, y1 = _tile_range(camera.cy - max(down), camera.cy - min(down), camera.height)
    return x0, y0, x1, y1


def _tile_range(low: float, high: float, limit: int) -> tuple[int, int]:
    first, end = (int(min(max(at, 0.0), limit)) for at in (low - PIXELS, high + PIXELS + 1.0))
    return first // TILE, -(-end // TILE)
