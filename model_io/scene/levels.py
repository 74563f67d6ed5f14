"""Nested boxes: what a scene of a whole place has around its box.

Level 0 is the box of a bounded scene. The box of level l has the same middle and is 2^l as large; it is cut into as
many cells, each 2^l as large, and is hollow where the box of level l - 1 is. A cell of level l takes every 2^l-th
sample of a ray: t_k with k = 0, 2^l, 2 * 2^l ... Along a ray, the tuple of the Manhattan distances from the camera's
cell in each level, the outermost level first, grows from cell to cell, and no two cells with one tuple share a ray.
That takes for granted that the levels agree on which side of a plane between cells a ray is. A ray that never leaves
such a plane is on the side that rounding says, which may differ between levels: :class:`Planes` keeps cameras off them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .box import Box
from .cells import Cells

MAX_LEVELS = 8


@dataclass(frozen=True, eq=False)
class OuterLevel:
    """A level around the box of a scene; arrays as those of level 0, and of the same shapes.

    Attributes:
        occupancy: bool [ox, oy, oz].
        network_index: int32 [rx, ry, rz], rows of the same ``layers``; -1 where the next level in is.
    """

    occupancy: NDArray[np.bool_]
    network_index: NDArray[np.int32]


def level_box(box: Box, level: int) -> Box:
    """The box of a level; ``box`` is that of level 0."""
    half = 0.5 * box.size * 2**level
    return Box((box.middle - half).astype(np.float32), (box.middle + half).astype(np.float32))


def hole(resolution: Sequence[int]) -> tuple[slice, slice, slice]:
    """Where in the grid of an outer level the next level in is: the middle half on each axis."""
    x, y, z = (slice(count // 4, count - count // 4) for count in resolution)
    return x, y, z


def nested(inner: Cells, outer: Sequence[OuterLevel]) -> tuple[Cells, ...]:
    """All levels, the innermost first. Nested boxes have no margin, which would be a gap between them."""
    if not outer:
        return (inner,)
    none = np.float32(0)
    return (
        Cells(inner.box, inner.occupancy, inner.network_index, none),
        *(
            Cells(level_box(inner.box, number), level.occupancy, level.network_index, none)
            for number, level in enumerate(outer, start=1)
        ),
    )


def front_to_back(levels: Sequence[Cells], origin: NDArray[np.floating]) -> NDArray[np.int32]:
    """Numbers of all leaves, those of the inner levels first, in the order in which rays from a place meet them."""
    keys: list[NDArray[np.int64]] = []
    for number, cells in enumerate(levels):
        key = np.zeros(len(cells.leaves), np.int64)
        for level in range(len(levels) - 1, number - 1, -1):
            # The cell of an outer level in which a leaf lies: all levels have the same middle.
            middle = np.asarray(cells.resolution) // 2
            place = ((cells.leaves - middle) >> (level - number)) + middle
            distance = np.abs(place - levels[level].cell_of(origin)).sum(axis=1)
            key = key * _DISTANCES + distance
        keys.append(key * _DISTANCES**number)  # inner levels are compared with nothing
    return np.argsort(np.concatenate(keys), kind="stable").astype(np.int32)


class Planes:
    """The planes between the cells of all levels, and the places so near to one that the levels disagree on its side.

    Args:
        levels: of a scene.
    """

    def __init__(self, levels: Sequence[Cells]) -> None:
        self._low, self._high = (np.stack([getattr(cells.box, end) for cells in levels]) for end in ("min", "max"))
        self._inverse_voxel = np.stack([cells.inverse_voxel for cells in levels])
        self._last, self._factor = (levels[0].voxels - 1).astype(np.float32), levels[0].factor
        self._middle = np.asarray(levels[0].resolution) // 2
        self._grain = np.spacing(np.maximum(np.abs(self._low[-1]), np.abs(self._high[-1])))

    def cleared(self, place: NDArray[np.floating]) -> NDArray[np.floating]:
        """``place`` itself, float32 [3]; on axes where levels disagree, the next coordinate at which they do not.

        It is some units in the last place of the outermost box's coordinates away.
        """
        moved = place
        for steps in range(1, _MOST_STEPS):
            disagree = self._disagree(moved)
            if not disagree.any():
                break
            moved = np.where(disagree, place + np.float32(steps) * self._grain, moved)
        return moved

    def _disagree(self, place: NDArray[np.floating]) -> NDArray[np.bool_]:
        """On which axes the cell in some level is not part of that in the next one, bool [3]."""
        voxels = np.minimum(np.maximum((place - self._low) * self._inverse_voxel, 0), self._last)
        cells = voxels.astype(np.int32) // self._factor - self._middle
        inside = (self._low < place) & (place < self._high)
        return ((cells[:-1] >> 1 != cells[1:]) & inside[:-1]).any(axis=0)


_MOST_STEPS = 64
_DISTANCES = 1 << 7  # more than cells on three axes: see ``check_levels``
MAX_CELLS = 40
"""Cells on each axis of a scene with several levels."""
