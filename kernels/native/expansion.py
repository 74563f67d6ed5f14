"""An octree field with its feature levels added up: one trilinear interpolation in place of one for each level.

A trilinear interpolation between the corners of a voxel is trilinear within each of its eight children, too. So the
sum of all levels at a point of a deepest voxel is the interpolation, between that voxel's corners, of the sum of all
levels at these corners.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io.scene.cells import Cells
from kilonerf.model_io.scene.octree import CORNERS, Octree
from kilonerf.model_io.scene.octree_scene import FEATURES, OctreeScene

from .grid import native_grid, words_of_leaf


@dataclass(frozen=True, eq=False)
class ExpandedField:
    """The corners of the deepest voxels, each once, in C order: the next one up in z, if there is one, is the next row.

    Attributes:
        rows: [C, 16], the sum of all levels at each corner.
        voxels: int32 [V, 3], the deepest voxels in Morton order.
        corners: int32 [V, 8], rows of each voxel's corners, in the order of ``CORNERS``.
    """

    rows: NDArray[np.floating]
    voxels: NDArray[np.int32]
    corners: NDArray[np.int32]

    @classmethod
    def of(cls, scene: OctreeScene, dtype: type[np.floating] = np.float32) -> "ExpandedField":
        """All levels of a scene, added up in ``dtype``."""
        octree = scene.octree
        rows = np.zeros((0, FEATURES), dtype)
        for number, own in enumerate(scene.features):
            level = scene.first_level + number
            values = own.values(level, scene.num_corners[number]).astype(dtype)
            rows = values if number == 0 else values + interpolated(octree, level, rows)
        places = octree.corners(octree.depth)
        order = np.lexsort(places.T[::-1])
        index = corner_grid(places[order], octree.depth)
        voxels = octree.voxels(octree.depth)
        corners = np.stack([index[tuple((voxels + corner).T)] for corner in CORNERS], axis=1)
        return cls(np.ascontiguousarray(rows[order]), voxels, corners)


def slots_of_voxels(field: ExpandedField, cells: Cells) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Slots: the voxels in the order of their bits in the occupancy of the cells (:func:`~.grid.voxel_words`).

    Returns:
        which voxel of the field is in each slot, [V]; how many voxels there are in the words before each word, [words].
    """
    words, shifts = words_of_leaf(cells), native_grid(cells)["voxel_shift"]
    leaf = cells.leaf_numbers[tuple((field.voxels // cells.factor).T)].astype(np.int64)
    bit = np.left_shift(field.voxels % cells.factor, shifts).sum(axis=1)
    word = leaf * words + (bit >> 5)
    counts = np.bincount(word, minlength=len(cells.leaves) * words)
    return np.lexsort((bit & 31, word)), (np.cumsum(counts) - counts).astype(np.int32)


def interpolated(octree: Octree, level: int, rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """What the corners of the level above, [C', 16], say at the corners of ``level``, [C, 16]."""
    parents = parent_corners(octree, level)
    total = rows[parents[:, 0]].copy()
    for corner in range(1, 8):
        total += rows[parents[:, corner]]
    return total * rows.dtype.type(1 / 8)


def parent_corners(octree: Octree, level: int) -> NDArray[np.int32]:
    """The eight corners of the level above whose mean is the trilinear interpolation at each corner of ``level``.

    int32 [C, 8]. Corners lie at whole or half places of the level above: where a coordinate is whole, both corners on
    that axis are the same one.
    """
    places = octree.corners(level)
    index = corner_grid(octree.corners(level - 1), level - 1)
    return np.stack([index[tuple(((places + corner) // 2).T)] for corner in CORNERS], axis=1)


def corner_grid(places: NDArray[np.int32], level: int) -> NDArray[np.int32]:
    """The row of each corner of a level by its place, -1 for none, int32 [2^level + 1] * 3."""
    grid = np.full(((1 << level) + 1,) * 3, -1, np.int32)
    grid[tuple(places.T)] = np.arange(len(places), dtype=np.int32)
    return grid
