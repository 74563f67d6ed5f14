"""Where the handles of a box's faces are, and what a drag of one does to the box: no window in it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kilonerf.kernels import Crop
from kilonerf.model_io import Camera
from kilonerf.model_io.scene.box import Box

SMALLEST_SINE = 0.06
"""Between a face's axis and the line of sight: below it the mouse says nothing about how far to go."""
SMALLEST_SHARE = 1e-3
"""Of the scene's box on that axis: a crop is at least as thick."""

Float = NDArray[np.float64]


class Handle(NamedTuple):
    """That of one face."""

    axis: int
    upper: bool  # the face of the larger coordinate

    @property
    def name(self) -> str:
        """As "x min"."""
        return f"{'xyz'[self.axis]} {'max' if self.upper else 'min'}"


HANDLES = tuple(Handle(axis, upper) for axis in range(3) for upper in (False, True))


def corners_of(crop: Crop) -> Float:
    """Both corners, [2, 3]."""
    return np.array([crop.min, crop.max], np.float64)


def crop_between(corners: Float) -> Crop:
    """The crop of two corners, [2, 3]."""
    (x0, y0, z0), (x1, y1, z1) = corners.tolist()
    return Crop((x0, y0, z0), (x1, y1, z1))


def handle_places(crop: Crop) -> Float:
    """The middle of each face, in the order of :data:`HANDLES`, [6, 3]."""
    corners = corners_of(crop)
    places = np.repeat(corners.mean(axis=0)[None], 6, axis=0)
    for number, (axis, upper) in enumerate(HANDLES):
        places[number, axis] = corners[int(upper), axis]
    return places


def edge_points(crop: Crop, parts: int) -> Float:
    """The twelve edges, each in ``parts`` pieces, [12, parts + 1, 3]."""
    corners = corners_of(crop)
    share = np.linspace(0.0, 1.0, parts + 1)
    edges: list[Float] = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for one in (0, 1):
            for other in (0, 1):
                edge = np.empty((parts + 1, 3))
                edge[:, first], edge[:, second] = corners[one, first], corners[other, second]
                edge[:, axis] = corners[0, axis] + share * (corners[1, axis] - corners[0, axis])
                edges.append(edge)
    return np.stack(edges)


def along_axis(camera: Camera, u: float, v: float, place: Float, axis: int) -> float | None:
    """Where on the line through ``place`` along an axis the mouse points, as that axis's coordinate.

    Args:
        camera: whose view the window shows.
        u: of the mouse, as a share of the picture's width.
        v: as a share of its height.
        place: any point of the line, [3].
        axis: 0, 1 or 2.

    Returns:
        The coordinate that is nearest to the line of sight; None where the two are nearly parallel.
    """
    local = np.array(
        [(u * camera.width - camera.cx) / camera.fx, -(v * camera.height - camera.cy) / camera.fy, -1.0], np.float64
    )
    sight = camera.matrix[:3, :3] @ local
    sight /= np.linalg.norm(sight)
    sine_squared = 1.0 - sight[axis] ** 2
    if sine_squared < SMALLEST_SINE**2:
        return None
    apart = camera.position - place
    return float(place[axis] + (apart[axis] - sight[axis] * (sight @ apart)) / sine_squared)


def with_face(crop: Crop, handle: Handle, coordinate: float, limits: Box) -> Crop:
    """The crop with one face moved: within ``limits``, and never through the face opposite."""
    corners = corners_of(crop)
    axis, row = handle.axis, int(handle.upper)
    low, high = float(limits.min[axis]), float(limits.max[axis])
    thin = SMALLEST_SHARE * (high - low)
    if handle.upper:
        low = corners[0, axis] + thin
        high = max(high, low)
    else:
        high = corners[1, axis] - thin
        low = min(low, high)
    corners[row, axis] = min(max(coordinate, low), high)
    return crop_between(corners)
