"""The box around the scene, and the z-depths at which rays enter and leave it.

If no box is given, it is found by the first of these that the data set allows: ``bbox.txt``; the visual hull of
the silhouettes (Laurentini 1994), carved out of a coarse grid; COLMAP's sparse points; the region that all cameras see.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kilonerf.model_io import Camera, Dataset, DatasetError
from kilonerf.model_io.scene.box import Box

from .photos import Photos
from .silhouettes import Silhouette, silhouettes

Vector = tuple[float, float, float]
Corners = tuple[NDArray[np.float64], NDArray[np.float64]]

GRID = 64  # voxels along each side of the box that is carved
_REFINEMENTS = 2  # each carves the box of the last one again
_GROWTHS = 4  # how often the first box is doubled while the hull touches its sides
_MOST_VIEWS = 120
_HULL_MARGIN = 0.01  # of the hull's longest side, on each side: soft edges are object too
_VOTES = 0.02  # share of views that must see background through a voxel: one bad silhouette removes nothing
_SEEN = 0.25  # share of views that must have a voxel in their picture
_PERCENTILES = (1.0, 99.0)  # of the sparse points: a few are always far off
_POINTS_MARGIN = 0.05  # of the box's size on each side
_FEWEST_POINTS = 50
_SAME_REGION = 0.9  # of the views that see the best-seen place


@dataclass(frozen=True)
class Bounds:
    """An axis-aligned box around the scene.

    Attributes:
        box_min: its corner with the least coordinates.
        box_max: the opposite corner.
        source: where it is from, as "silhouettes of 100 views".
        levels: of nested boxes; this is the innermost. 1: the box holds the whole scene.
        surrounded: the photos show what is around the box, too.
    """

    box_min: Vector
    box_max: Vector
    source: str
    levels: int = 1
    surrounded: bool = False

    def __str__(self) -> str:
        low, high = (" ".join(f"{value:.4g}" for value in corner) for corner in (self.box_min, self.box_max))
        around = f", with {self.levels - 1} around it, each twice as large" if self.levels > 1 else ""
        return f"box {low} to {high}{around}, from {self.source}"

    @property
    def box(self) -> Box:
        """The same, as scenes have it: float32."""
        return Box(np.asarray(self.box_min, np.float32), np.asarray(self.box_max, np.float32))

    @property
    def corners(self) -> NDArray[np.float64]:
        """The eight corners, [8, 3]."""
        return np.stack(np.meshgrid(*zip(self.box_min, self.box_max, strict=True), indexing="ij"), axis=-1).reshape(
            8, 3
        )


def find_bounds(dataset: Dataset, photos: Photos | None = None) -> Bounds:
    """Find a box around the scene.

    Args:
        dataset: its cameras, and its box or points where it has them.
        photos: the pictures of its views, for silhouettes: transparency, or a plain background.

    Raises:
        DatasetError: it has none of what a box can be found by.
    """
    if dataset.bounding_box is not None:
        return Bounds(*dataset.bounding_box, "the data set")
    outlines = [] if photos is None else silhouettes(photos, _MOST_VIEWS, dataset.background)
    if outlines:
        box = carved_box(outlines)
        if box is not None:
            return _bounds(*box, f"silhouettes of {len(outlines)} views")
    if dataset.points is not None and len(dataset.points) >= _FEWEST_POINTS:
        return _bounds(*points_box(dataset.points), f"{len(dataset.points)} sparse points", surrounded=True)
    box = common_region([view.camera for view in dataset.views])
    if box is None and dataset.region is not None:
        return Bounds(*dataset.region, "where the data set says that the scene is at most", surrounded=True)
    if box is None:
        raise DatasetError(
            "box: expected bbox.txt, silhouettes, sparse points or cameras around the scene to find one by, got none; "
            "give a box"
        )
    return _bounds(*box, "what the cameras have in common", surrounded=True)


def depth_range(dataset: Dataset, bounds: Bounds) -> tuple[float, float]:
    """Near and far: those of the data set, else the z-depths between which every camera's rays are inside the box.

    A camera inside the box starts right before itself, at a thousandth of the box's diagonal.

    Raises:
        DatasetError: no camera has any of the box in front of it.
    """
    if dataset.near is not None and dataset.far is not None:
        return dataset.near, dataset.far
    corners = bounds.corners
    smallest = 1e-3 * float(np.linalg.norm(corners[7] - corners[0]))
    # z-depth is linear, so that its extremes over the box are at corners.
    depths = np.stack([_depths(view.camera, corners) for view in dataset.views])
    in_front = depths[depths.max(axis=1) > smallest]
    if not len(in_front):
        raise DatasetError(f"near and far: expected cameras that look at the {bounds}, got none")
    return max(smallest, float(in_front.min())), float(in_front.max())


def carved_box(outlines: Sequence[Silhouette]) -> Corners | None:
    """The box of the visual hull; None if nothing is left of it, or it does not end.

    Each voxel is projected as the sphere around it, and goes where its whole image is background: so the box holds all
    of the hull, and is larger by a few voxels of the grid.
    """
    cameras = [outline.camera for outline in outlines]
    middle, distance = middle_of_views(cameras)
    if middle is None:
        return None
    box_min, box_max = middle - 0.5 * distance, middle + 0.5 * distance
    for _ in range(_GROWTHS):
        box = _carve(outlines, box_min, box_max)
        if box is None:
            return None
        if (box[0] > box_min).all() and (box[1] < box_max).all():
            break
        box_min, box_max = middle - (middle - box_min) * 2, middle + (box_max - middle) * 2
    else:
        return None
    for _ in range(_REFINEMENTS):
        voxel = (box[1] - box[0]) / GRID
        refined = _carve(outlines, box[0] - voxel, box[1] + voxel)
        if refined is None:
            return None
        box = np.maximum(box[0], refined[0]), np.minimum(box[1], refined[1])
    margin = _HULL_MARGIN * (box[1] - box[0]).max()
    return box[0] - margin, box[1] + margin


def points_box(points: NDArray[np.float64]) -> Corners:
    """A box around sparse points [P, 3] without the outermost, and a margin."""
    box_min, box_max = np.percentile(points, _PERCENTILES, axis=0)
    margin = _POINTS_MARGIN * np.maximum(box_max - box_min, 1e-3 * (box_max - box_min).max())
    return box_min - margin, box_max + margin


def common_region(cameras: Sequence[Camera]) -> Corners | None:
    """The box of what nearly all of the cameras see; None if they do not look at one place."""
    middle, distance = middle_of_views(cameras)
    if middle is None:
        return None
    points, voxel = _grid(middle - distance, middle + distance)
    seen = np.zeros(points.shape[1], np.int32)
    for camera in cameras:
        columns, rows, depth = _project(camera, points)
        inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
        seen += inside & (depth > 0)
    if seen.max() < 2:
        return None
    kept = points[:, seen >= _SAME_REGION * seen.max()]
    return kept.min(axis=1) - 0.5 * voxel, kept.max(axis=1) + 0.5 * voxel


def middle_of_views(cameras: Sequence[Camera]) -> tuple[NDArray[np.float64] | None, float]:
    """The place next to all optical axes (least squares), and the cameras' median distance to it.

    None if there is none: the axes are next to parallel, or the place lies behind most of the cameras.
    """
    positions = np.stack([camera.position for camera in cameras])
    axes = np.stack([-camera.matrix[:3, 2] / np.linalg.norm(camera.matrix[:3, 2]) for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # removes the part along each axis
    matrix = across.mean(axis=0)
    if np.linalg.eigvalsh(matrix)[0] < 1e-3:
        return None, 0.0
    middle = np.linalg.solve(matrix, np.einsum("vij,vj->i", across, positions) / len(cameras))
    if np.median(np.einsum("vi,vi->v", middle - positions, axes)) <= 0:
        return None, 0.0
    return middle, float(np.median(np.linalg.norm(positions - middle, axis=1)))


def in_camera(camera: Camera, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [3, P] of the world in the camera's axes, [3, P]; it looks along -z.

    Not by a matrix product: BLAS would start threads for it, which wait for each other in busy loops. On a machine
    where other processes train too, some schedulers then let nothing else run.
    """
    return np.einsum("ji,jp->ip", camera.matrix[:3, :3], points - camera.position[:, None])


def _bounds(
    box_min: NDArray[np.float64], box_max: NDArray[np.float64], source: str, *, surrounded: bool = False
) -> Bounds:
    x0, y0, z0 = map(float, box_min)
    x1, y1, z1 = map(float, box_max)
    return Bounds((x0, y0, z0), (x1, y1, z1), source, surrounded=surrounded)


def _carve(
    outlines: Sequence[Silhouette], box_min: NDArray[np.float64], box_max: NDArray[np.float64]
) -> Corners | None:
    """The box of the voxels between ``box_min`` and ``box_max`` that no silhouette takes away."""
    points, voxel = _grid(box_min, box_max)
    radius = 0.5 * float(np.linalg.norm(voxel))
    votes_needed = max(1, round(_VOTES * len(outlines)))
    votes, seen = np.zeros((2, points.shape[1]), np.int32)
    alive = np.arange(points.shape[1])
    for outline in outlines:
        visible, background = outline.look_at(*_project(outline.camera, points[:, alive]), radius)
        seen[alive] += visible
        votes[alive] += background
        alive = alive[votes[alive] < votes_needed]
    kept = points[:, alive[seen[alive] >= _SEEN * len(outlines)]]
    if not kept.size:
        return None
    return kept.min(axis=1) - 0.5 * voxel, kept.max(axis=1) + 0.5 * voxel


def _grid(
    box_min: NDArray[np.float64], box_max: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The voxels' centres [3, GRID^3] and their size [3]."""
    voxel = (box_max - box_min) / GRID
    axes = [box_min[axis] + (np.arange(GRID) + 0.5) * voxel[axis] for axis in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1), voxel


def _depths(camera: Camera, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """z-depths [P]; negative behind the camera."""
    return -(points - camera.position) @ camera.matrix[:3, 2]


def _project(
    camera: Camera, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Column, row (pixel centres at +0.5) and z-depth of points [3, P]; column and row are for those in front."""
    x, y, z = in_camera(camera, points)
    depth = -z
    divisor = np.where(depth > 0, depth, np.inf)
    return camera.cx + camera.fx * x / divisor, camera.cy - camera.fy * y / divisor, depth
