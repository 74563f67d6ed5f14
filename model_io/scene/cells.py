"""The grid of cells over a scene's box: which have a network, and which of their voxels hold something.

The constants and methods that find a point's voxel and its coordinates within a cell are part of the sampling rule
(``kernels/sampling.py``): IEEE single precision, operation by operation, repeated so by native code.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .box import Box

Floats = NDArray[np.floating]  # float32 throughout; NumPy's annotations lose that in arithmetic

INSIDE_MARGIN = np.float32(0.001)
"""The original code takes a point as inside the box only if it is this far (world units) from every face."""
_MARGIN_SHARE = 0.001  # of the box's longest side: the margin is no larger, or small units would lose some

_BORDER_MARGIN = np.float32(0.01)  # voxels: more than a sample's position is rounded by


@dataclass(frozen=True, eq=False)
class Cells:
    """A uniform grid of cells, each cut into voxels. A cell with a network is a leaf; leaves are numbered in C order.

    Attributes:
        box: what the cells fill.
        occupancy: bool [ox, oy, oz], the voxels; a whole multiple of the cells on each axis.
        network_index: int32 [rx, ry, rz], the network of each cell; -1: none.
    """

    box: Box
    occupancy: NDArray[np.bool_]
    network_index: NDArray[np.int32]
    margin: np.float32 = INSIDE_MARGIN
    """A point counts as inside only if it is this far (world units) from every face of the box."""
    crop: Box | None = None
    """A point counts as inside only if it is strictly inside this box, too."""

    def cropped(self, crop: Box) -> "Cells":
        """The same cells, of which only what lies in ``crop`` counts."""
        return replace(self, crop=crop)

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Cells on each axis."""
        rx, ry, rz = self.network_index.shape
        return rx, ry, rz

    @cached_property
    def voxels(self) -> NDArray[np.int32]:
        """Voxels on each axis, int32 [3]."""
        return np.asarray(self.occupancy.shape, np.int32)

    @cached_property
    def factor(self) -> NDArray[np.int32]:
        """Voxels per cell on each axis, int32 [3]."""
        return self.voxels // np.asarray(self.resolution, np.int32)

    @cached_property
    def inside_min(self) -> Floats:
        """float32 [3]; a point p is inside the box if inside_min < p < inside_max on every axis."""
        low = self.box.min + self._inside_margin
        return low if self.crop is None else np.maximum(low, self.crop.min)

    @cached_property
    def inside_max(self) -> Floats:
        """float32 [3]; see ``inside_min``."""
        high = self.box.max - self._inside_margin
        return high if self.crop is None else np.minimum(high, self.crop.max)

    @cached_property
    def _inside_margin(self) -> np.float32:
        return min(self.margin, np.float32(_MARGIN_SHARE * self.box.size.max()))

    @cached_property
    def inverse_voxel(self) -> Floats:
        """Voxels per world unit, float32 [3]."""
        return self.voxels.astype(np.float32) / (self.box.max - self.box.min)

    @cached_property
    def cell_size(self) -> Floats:
        """Edges of a cell in world units, float32 [3]."""
        return (self.box.max - self.box.min) / np.asarray(self.resolution, np.float32)

    @cached_property
    def voxel_size(self) -> Floats:
        """Edges of a voxel in world units, float32 [3]."""
        return self.cell_size / self.factor.astype(np.float32)

    @cached_property
    def local_scale(self) -> Floats:
        """2 / cell_size, float32 [3]."""
        return np.float32(2.0) / self.cell_size

    def locate(self, points: Floats) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Whether each point [..., 3] is inside the box, and its voxel, int32 [..., 3] (0 where it is not)."""
        inside = np.all((points > self.inside_min) & (points < self.inside_max), axis=-1)
        scaled = np.where(inside[..., None], (points - self.box.min) * self.inverse_voxel, np.float32(0))
        voxel = scaled.astype(np.int32)  # truncates
        inside &= np.all(voxel < self.voxels, axis=-1)
        return inside, np.where(inside[..., None], voxel, 0)

    def local(self, points: Floats, cells: NDArray[np.integer]) -> Floats:
        """Coordinates in [-1, 1]^3 of points [P, 3] within their cells [P, 3]."""
        return (points - self.corners(cells)) * self.local_scale - np.float32(1.0)

    def corners(self, cells: NDArray[np.integer]) -> Floats:
        """The corners with the least coordinates of cells [P, 3], float32 [P, 3]."""
        return self.box.min + cells.astype(np.float32) * self.cell_size

    def networks_of(self, voxels: NDArray[np.integer]) -> NDArray[np.int32]:
        """The network of each voxel's cell, int32 [...]; voxels [..., 3]."""
        return self.network_index[tuple(np.moveaxis(voxels // self.factor, -1, 0))]

    def networks_at(
        self,
        points: Floats,  # [..., 3]
        *,
        ess: bool = True,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Network of each point, int32 [...] (-1: the point does not count), and its cell, int32 [..., 3].

        Args:
            points: in world units.
            ess: empty-space skipping: a point in an empty voxel does not count.
        """
        inside, voxel = self.locate(points)
        if ess:
            inside &= self.occupancy[tuple(np.moveaxis(voxel, -1, 0))]
        return np.where(inside, self.networks_of(voxel), np.int32(-1)), voxel // self.factor

    @cached_property
    def leaves(self) -> NDArray[np.int32]:
        """Places in the grid of the L cells that have a network, int32 [L, 3]."""
        return np.argwhere(self.network_index >= 0).astype(np.int32)

    @cached_property
    def leaf_numbers(self) -> NDArray[np.int32]:
        """Each cell's number among the leaves, -1 for other cells, int32 [rx, ry, rz]."""
        numbers = np.full(self.resolution, -1, np.int32)
        numbers[tuple(self.leaves.T)] = np.arange(len(self.leaves))
        return numbers

    def leaf_voxels(self) -> NDArray[np.bool_]:
        """Occupancy of each leaf, bool [L, fx, fy, fz]; a new copy each time."""
        (rx, ry, rz), (fx, fy, fz) = self.resolution, self.factor.tolist()
        blocks = self.occupancy.reshape(rx, fx, ry, fy, rz, fz).transpose(0, 2, 4, 1, 3, 5)
        return blocks[tuple(self.leaves.T)]

    @cached_property
    def leaf_occupied(self) -> NDArray[np.bool_]:
        """Whether each leaf has an occupied voxel, bool [L]."""
        return occupied_cells(self.occupancy, self.resolution)[tuple(self.leaves.T)]

    @cached_property
    def leaf_near_border(self) -> NDArray[np.bool_]:
        """Whether the margin of the test "inside the box" may cut each leaf, bool [L]."""
        margin = _BORDER_MARGIN * self.voxel_size
        low, high = self.corners(self.leaves) - margin, self.corners(self.leaves) + self.cell_size + margin
        return np.any((low <= self.inside_min) | (high >= self.inside_max), axis=1)

    def leaf_boxes(self, ess: bool) -> tuple[Floats, Floats]:
        """The box of each leaf that rays are clipped to: both corners, float32 [L, 3] each.

        Args:
            ess: tight around the leaf's occupied voxels (the whole leaf if it has none), else the whole leaf.
        """
        low = self.corners(self.leaves)
        if not ess:
            return low, low + self.cell_size
        first, end = np.zeros_like(self.leaves), np.zeros_like(self.leaves)
        voxels = self.leaf_voxels()
        columns = np.asarray(voxels.any(axis=3))
        slices = voxels.reshape(len(low), voxels.shape[1] * voxels.shape[2], voxels.shape[3])
        for axis, used in enumerate((columns.any(axis=2), columns.any(axis=1), slices.any(axis=1))):
            first[:, axis] = np.argmax(used, axis=1)
            end[:, axis] = self.factor[axis] - np.argmax(np.flip(used, axis=1), axis=1)
        return low + first.astype(np.float32) * self.voxel_size, low + end.astype(np.float32) * self.voxel_size

    def cell_of(self, origin: Floats) -> NDArray[np.int32]:
        """The cell of a place in the world [3], or the one next to it if it is outside the box; int32 [3]."""
        voxel = (origin - self.box.min) * self.inverse_voxel
        return np.clip(voxel, 0, self.voxels - 1).astype(np.int32) // self.factor

    def front_to_back(self, origin: Floats) -> NDArray[np.int32]:
        """Numbers of all leaves by their Manhattan distance from the origin's cell, int32 [L].

        That distance grows strictly along every ray, so any ray from the origin meets the leaves in this order.
        """
        distance = np.abs(self.leaves - self.cell_of(origin)).sum(axis=1)
        return np.argsort(distance, kind="stable").astype(np.int32)


def occupied_cells(
    occupancy: NDArray[np.bool_],  # [ox, oy, oz]
    resolution: tuple[int, int, int],
) -> NDArray[np.bool_]:
    """Which cells hold an occupied voxel, bool [rx, ry, rz]. ``occupancy`` must be a whole multiple."""
    rx, ry, rz = resolution
    # One axis at a time, the slowest first, so that every reduction runs along contiguous memory.
    slabs = occupancy.reshape(rx, -1, occupancy.shape[1] * occupancy.shape[2]).any(axis=1)
    rows = slabs.reshape(rx, ry, -1, occupancy.shape[2]).any(axis=2)
    return np.asarray(rows.reshape(rx, ry, rz, -1).any(axis=3))
