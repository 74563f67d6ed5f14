"""The nested boxes of a capture: photos that show a place, with the cameras inside it."""

import math
from collections.abc import Sequence

import numpy as np

from kilonerf.model_io import Camera, Dataset, DatasetError
from kilonerf.model_io.scene.box import Box
from kilonerf.model_io.scene.levels import level_box

from .bounds import Bounds, depth_range, middle_of_views

_LEVELS = 5  # without points that say how far the place reaches
_FEWEST_LEVELS, _MOST_LEVELS = 2, 6
_FARTHEST = 99.5  # percentile of the sparse points that lie inside the outermost box
_NEAR = 0.05  # of the cameras' distance from the middle: nobody holds a camera closer to anything
_NEAR_SEEN = 0.5  # of the depth of the nearest points that cameras saw: what is closer still has no texture
_NEAREST = 0.1  # percentile of these depths: some points are wrong
_FEWEST_SIGHTINGS = 1000


def capture_bounds(dataset: Dataset, levels: int | None = None) -> Bounds:
    """The innermost box, and how many levels there are.

    The box is a cube around the place that the cameras look at, and reaches as far as most of them stand. Cameras that
    all look one way have such a place at the depth of what they see.

    Args:
        dataset: its cameras; its sparse points, near and far if it has them.
        levels: how many; found if left out.

    Raises:
        DatasetError: nothing says how far away things are.
    """
    cameras = [view.camera for view in dataset.views]
    middle, half = middle_of_views(cameras)
    source = "where the cameras look"
    if middle is None:
        positions = np.stack([camera.position for camera in cameras])
        ahead = -np.stack([camera.matrix[:3, 2] for camera in cameras]).mean(axis=0)
        if dataset.near is not None and dataset.far is not None:
            half = math.sqrt(dataset.near * dataset.far)
        elif dataset.points is not None and len(dataset.points):
            half = float(np.median((dataset.points - positions.mean(axis=0)) @ ahead))
        if not half > 0:
            raise DatasetError(
                "box: expected cameras around something, sparse points or near and far to find one by, got none; "
                "give a box"
            )
        middle, source = positions.mean(axis=0) + half * ahead, "the depth of what the cameras look at"
    if levels is None:
        levels = _LEVELS
        if dataset.points is not None and len(dataset.points):
            reach = float(np.percentile(np.abs(dataset.points - middle).max(axis=1), _FARTHEST))
            levels = min(max(math.ceil(math.log2(max(reach / half, 1.0))) + 1, _FEWEST_LEVELS), _MOST_LEVELS)
    x0, y0, z0 = (float(value) for value in middle - half)
    x1, y1, z1 = (float(value) for value in middle + half)
    return Bounds((x0, y0, z0), (x1, y1, z1), source, levels=levels, surrounded=True)


def entrance(cameras: Sequence[Camera], bounds: Box) -> Camera:
    """Where a place is entered: by one of the cameras that stand farther back than most."""
    distances = [float(np.linalg.norm(camera.position - bounds.middle)) for camera in cameras]
    return cameras[int(np.argsort(distances)[3 * len(cameras) // 4])]


def scene_depths(dataset: Dataset, bounds: Bounds) -> tuple[float, float]:
    """Near and far: as :func:`.bounds.depth_range` says for one level.

    For several, near is shortly before the cameras, or half as far away as the nearest sparse points that they saw, and
    far is where the last of their rays leaves the outermost box.

    Raises:
        DatasetError: no camera has any of the box in front of it.
    """
    if bounds.levels == 1:
        return depth_range(dataset, bounds)
    box = Box(np.asarray(bounds.box_min, np.float32), np.asarray(bounds.box_max, np.float32))
    outermost = level_box(box, bounds.levels - 1)
    half = box.size.max() / 2
    positions = np.stack([view.camera.position for view in dataset.views])
    corners = Bounds(tuple(outermost.min.tolist()), tuple(outermost.max.tolist()), "").corners
    farthest = np.linalg.norm(positions[:, None] - corners, axis=-1).max()
    near = _NEAR * float(half)
    if dataset.points is not None and dataset.sightings is not None and len(dataset.sightings) >= _FEWEST_SIGHTINGS:
        views, points = dataset.sightings.T
        backward = np.stack([view.camera.matrix[:3, 2] for view in dataset.views])
        depths = ((positions[views] - dataset.points[points]) * backward[views]).sum(axis=1)
        near = max(near, _NEAR_SEEN * float(np.percentile(depths, _NEAREST)))
    return near, float(farthest)
