"""Nested boxes: what a scene of a whole place has around its box.

Level 0 is the box of a bounded scene. The box of level l has the same middle and is 2^l as large; it is cut into as
many cells, each 2^l as large, and is hollow where the box of level l - 1 is. A cell of level l takes every 2^l-th
sample of a ray: t_k with k = 0, 2^l, 2 * 2^l ... Along a ray, the tuple of the Manhattan distances from the camera's
cell in each level, the outermost level first, grows from cell to cell, and no two cells with one tuple share a ray.
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


_DISTANCES = 1 << 7  # more than cells on three axes: see ``check_levels``
MAX_CELLS = 40
"""Cells on each axis of a scene with several levels."""
