"""Which samples a frame takes. Defined in float32, so that every backend takes the very same ones.

Every expression here is evaluated in IEEE single precision in the order in which it is written, without fused
multiply-add; native backends repeat it operation by operation. A sample therefore counts in all backends or
in none, and pictures differ only by the rounding of the networks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Scene

from .options import RenderOptions

Floats = NDArray[np.floating]  # float32 throughout; NumPy's annotations lose that in arithmetic

INSIDE_MARGIN = np.float32(0.001)
"""The original code takes a point as inside the box only if it is this far (world units) from every face."""

LAST_INDEX = 2**24 - 1  # the largest sample index that float32 still counts exactly


@dataclass(frozen=True, eq=False)
class SceneGrid:
    """Constants that find a point's voxel, cell and local coordinates; all float32 [3] or int32 [3]."""

    box_min: Floats
    inside_min: Floats  # a point p is inside if inside_min < p < inside_max on every axis
    inside_max: Floats
    inverse_voxel: Floats
    cell_size: Floats
    local_scale: Floats  # 2 / cell_size
    voxels: NDArray[np.int32]
    factor: NDArray[np.int32]

    @classmethod
    def of(cls, scene: Scene) -> "SceneGrid":
        """The constants of one scene."""
        return cls.of_box(scene.aabb_min, scene.aabb_max, scene.resolution, scene.occupancy.shape)

    @classmethod
    def of_box(
        cls, aabb_min: Floats, aabb_max: Floats, resolution: Sequence[int], occupancy: Sequence[int]
    ) -> "SceneGrid":
        """The constants of a box cut into ``resolution`` cells and ``occupancy`` voxels."""
        low, high = aabb_min.astype(np.float32), aabb_max.astype(np.float32)
        voxels = np.asarray(occupancy, np.int32)
        cell_size = ((high - low) / np.asarray(resolution, np.float32)).astype(np.float32)
        return cls(
            box_min=low,
            inside_min=low + INSIDE_MARGIN,
            inside_max=high - INSIDE_MARGIN,
            inverse_voxel=voxels.astype(np.float32) / (high - low),
            cell_size=cell_size,
            local_scale=np.float32(2.0) / cell_size,
            voxels=voxels,
            factor=voxels // np.asarray(resolution, np.int32),
        )

    def locate(self, points: Floats) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Whether each point [..., 3] is inside the box, and its voxel, int32 [..., 3] (0 where it is not)."""
        inside = np.all((points > self.inside_min) & (points < self.inside_max), axis=-1)
        scaled = np.where(inside[..., None], (points - self.box_min) * self.inverse_voxel, np.float32(0))
        voxel = scaled.astype(np.int32)  # truncates
        inside &= np.all(voxel < self.voxels, axis=-1)
        return inside, np.where(inside[..., None], voxel, 0)

    def local(self, points: Floats, cells: NDArray[np.int32]) -> Floats:
        """Coordinates in [-1, 1]^3 of points [P, 3] within their cells [P, 3]."""
        cell_min = self.box_min + cells.astype(np.float32) * self.cell_size
        return (points - cell_min) * self.local_scale - np.float32(1.0)


def networks_at(
    scene: Scene,
    grid: SceneGrid,
    points: Floats,  # [P, 3]
    *,
    ess: bool = True,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Network of each point, int32 [P] (-1: the point does not count), and its cell, int32 [P, 3]."""
    inside, voxel = grid.locate(points)
    if ess:
        inside &= scene.occupancy[tuple(voxel.T)]
    cells = voxel // grid.factor
    return np.where(inside, scene.network_index[tuple(cells.T)], np.int32(-1)), cells


@dataclass(frozen=True)
class SampleSteps:
    """Where samples lie on a ray: t_k = near + k * step for k = 0 .. last."""

    near: np.float32
    step: np.float32
    last: int

    @classmethod
    def of(cls, scene: Scene, options: RenderOptions) -> "SampleSteps":
        """What ``options`` ask for; flying (near, far None) starts one step before the camera and has no end."""
        step = scene.step if options.step is None else options.step
        near = step if options.near is None else options.near
        last = LAST_INDEX
        if options.far is not None:
            # far - near is a whole number of steps as trained; the small addend forgives its rounding.
            last = min(LAST_INDEX, math.floor((options.far - near) / step + 1e-6))
        return cls(np.float32(near), np.float32(step), last)

    def t(self, index: NDArray[np.integer]) -> Floats:
        """z-depth of samples by their index."""
        return self.near + index.astype(np.float32) * self.step


def ray_origin(camera: Camera) -> Floats:
    """Origin of every ray, float32 [3]."""
    return camera.position.astype(np.float32)


def ray_directions(camera: Camera, rows: slice = slice(None)) -> Floats:
    """Un-normalised directions (z-depth 1) of the pixels of some rows, float32 [rows, W, 3]."""
    half = np.float32(0.5)
    a = (np.arange(camera.width, dtype=np.float32) + half - np.float32(camera.cx)) / np.float32(camera.fx)
    y = np.arange(camera.height, dtype=np.float32)[rows]
    b = -((y + half - np.float32(camera.cy)) / np.float32(camera.fy))
    rotation = camera.matrix[:3, :3].astype(np.float32)
    a, b = a[None, :, None], b[:, None, None]
    return (rotation[:, 0] * a + rotation[:, 1] * b) - rotation[:, 2]


def positions(origin: Floats, directions: Floats, t: Floats) -> Floats:
    """Sample points: origin + t * direction, float32 [..., 3]."""
    return origin + t[..., None] * directions
