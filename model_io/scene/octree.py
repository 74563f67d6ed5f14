"""A sparse octree over a box, and the corners of its voxels (Variable Bitrate Neural Fields, SIGGRAPH 2022, section 3).

Level l cuts the box into 2^l voxels on each axis; the octree has some of them. Voxels, and their corners, are numbered
level by level in Morton order: bits of x, y and z interleaved, those of x highest. So all numbers follow from the
octree alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .checks import fail

Keys = NDArray[np.int64]
Places = NDArray[np.int32]

MAX_DEPTH = 9
"""The deepest level that an octree may have: 512 voxels on each axis."""
CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.int32)
"""The corners of a voxel, relative to its lowest one, in Morton order, [8, 3]."""


def morton_keys(places: NDArray[np.integer]) -> Keys:
    """Morton keys of places [P, 3], each coordinate less than 2^20."""
    spread = np.zeros(len(places), np.int64)
    for axis in range(3):
        bits = places[:, axis].astype(np.int64)
        for shift, mask in _SPREAD:
            bits = (bits | bits << shift) & mask
        spread |= bits << (2 - axis)
    return spread


def morton_places(keys: Keys) -> Places:
    """The places [P, 3] that keys are of."""
    places = np.empty((len(keys), 3), np.int32)
    for axis in range(3):
        bits = keys >> (2 - axis) & _SPREAD[-1][1]
        for (shift, _), (_, mask) in zip(_SPREAD[::-1], (*_SPREAD[-2::-1], (0, 0xFFFFF)), strict=True):
            bits = (bits | bits >> shift) & mask
        places[:, axis] = bits
    return places


_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
"""Steps that put two zeros between any two bits: shift left, or, mask."""


@dataclass(frozen=True, eq=False)
class Octree:
    """Which voxels there are. Every voxel of a level but the deepest has at least one of its eight children.

    Attributes:
        keys: Morton keys of the voxels of each level, sorted; level 0 is one voxel, the box.
    """

    keys: tuple[Keys, ...]

    @classmethod
    def of_occupancy(cls, occupancy: NDArray[np.bool_]) -> "Octree":
        """The octree whose deepest voxels are the occupied ones of a grid of 2^depth on each axis."""
        levels = [np.sort(morton_keys(np.argwhere(occupancy)))]
        for _ in range(int(occupancy.shape[0]).bit_length() - 1):
            parents = levels[-1] >> 3
            levels.append(parents[np.flatnonzero(np.diff(parents, prepend=-1))])
        return cls(tuple(reversed(levels)))

    @classmethod
    def of_children(cls, children: Sequence[NDArray[np.uint8]]) -> "Octree":
        """The octree with these inner voxels.

        Args:
            children: for each level but the deepest, which children each of its voxels has, uint8: bit 4x + 2y + z
                for the one at (x, y, z).

        Raises:
            SceneError: a level has more or fewer bytes than voxels, or a voxel has no child.
        """
        levels = [np.zeros(1, np.int64)]
        for level, own in enumerate(children):
            if own.shape != levels[-1].shape:
                fail("octree", f"{len(levels[-1])} bytes for level {level}", own.size)
            if not own.all():
                fail("octree", "a child of every voxel", f"none of voxel {int(own.argmin())} of level {level}")
            parent, child = np.nonzero(np.unpackbits(own[:, None], axis=1, bitorder="little"))
            levels.append(levels[-1][parent] << 3 | child)
        return cls(tuple(levels))

    @property
    def depth(self) -> int:
        """The deepest level."""
        return len(self.keys) - 1

    def children(self, level: int) -> NDArray[np.uint8]:
        """What :meth:`of_children` takes for one level."""
        below = self.keys[level + 1]
        parent = np.searchsorted(self.keys[level], below >> 3)
        found = np.zeros(len(self.keys[level]), np.uint8)
        np.bitwise_or.at(found, parent, np.left_shift(1, below & 7).astype(np.uint8))
        return found

    def voxels(self, level: int) -> Places:
        """Places of a level's voxels in its grid, int32 [V, 3]."""
        return morton_places(self.keys[level])

    def upto(self, level: int) -> "Octree":
        """The same octree, without what is deeper."""
        return Octree(self.keys[: level + 1])

    @cached_property
    def occupancy(self) -> NDArray[np.bool_]:
        """The deepest voxels as a grid, bool [2^depth] * 3."""
        grid = np.zeros((1 << self.depth,) * 3, np.bool_)
        grid[tuple(self.voxels(self.depth).T)] = True
        return grid

    def corners(self, level: int) -> Places:
        """Places of the corners of a level's voxels, each once, int32 [C, 3], 0 to 2^level, in Morton order."""
        return morton_places(self.corner_keys(level))

    def corner_keys(self, level: int) -> Keys:
        """Morton keys of :meth:`corners`, sorted."""
        if level not in self._found_corners:
            self._found_corners[level] = self._find_corners(level)
        return self._found_corners[level]

    @cached_property
    def _found_corners(self) -> dict[int, Keys]:
        return {}

    def _find_corners(self, level: int) -> Keys:
        size = (1 << level) + 1
        used = np.zeros(size**3, np.bool_)
        x, y, z = self.voxels(level).astype(np.int64).T
        lowest = (x * size + y) * size + z
        for dx, dy, dz in CORNERS.tolist():
            used[lowest + ((dx * size + dy) * size + dz)] = True
        flat = np.flatnonzero(used)
        return np.sort(morton_keys(np.stack([flat // (size * size), flat // size % size, flat % size], axis=1)))

    def num_corners(self, level: int) -> int:
        """How many corners a level's voxels have together."""
        return len(self.corner_keys(level))

    @property
    def num_bytes(self) -> int:
        """Bytes that say which voxels there are: one for each but the deepest."""
        return sum(len(level) for level in self.keys[:-1])
