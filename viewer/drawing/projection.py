"""From the shared pinhole camera to OpenGL's clip space, so that lines and picture meet on the same pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kilonerf.model_io import Camera

NEAREST_SHARE = 1e-3
"""The near plane is never nearer than this share of the far plane's z-depth: a 24-bit depth buffer then still
tells depths apart by 6e-5 of the far plane's z-depth, a fraction of a voxel."""


class ClipPlanes(NamedTuple):
    """z-depths of the near and the far plane, 0 < near < far, world units."""

    near: float
    far: float


def clip_planes(
    camera: Camera,
    box_min: ArrayLike,  # [3]
    box_max: ArrayLike,  # [3]
) -> ClipPlanes:
    """Clip planes that hold all of a box that is in front of the camera, tightly.

    Works from outside and inside the box; where the whole box lies behind the camera the planes are valid but
    hold nothing of it.
    """
    low, high = np.asarray(box_min, np.float64), np.asarray(box_max, np.float64)
    unit = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    corners = low + unit * (high - low)
    depths = -(corners - camera.position) @ camera.matrix[:3, 2]
    diagonal = float(np.linalg.norm(high - low)) or 1.0
    margin = 1e-3 * diagonal  # the box's own edges must not fall to rounding
    far = float(depths.max()) + margin
    if far <= margin:
        far = diagonal
    return ClipPlanes(max(float(depths.min()) - margin, NEAREST_SHARE * far), far)


def projection_matrix(camera: Camera, near: float, far: float) -> NDArray[np.float64]:
    """The camera's lens as an OpenGL projection, [4, 4], column vectors: clip = P @ (x, y, z, 1) in camera space.

    The exact pinhole, off-centre principal point included. Clip w is the z-depth t; the depth-buffer value is
    ``far * (t - near) / (t * (far - near))``.
    """
    matrix = np.zeros((4, 4))
    matrix[0, 0] = 2.0 * camera.fx / camera.width
    matrix[0, 2] = 1.0 - 2.0 * camera.cx / camera.width
    matrix[1, 1] = 2.0 * camera.fy / camera.height
    matrix[1, 2] = 2.0 * camera.cy / camera.height - 1.0  # rows grow downwards, clip y upwards
    matrix[2, 2] = -(far + near) / (far - near)
    matrix[2, 3] = -2.0 * far * near / (far - near)
    matrix[3, 2] = -1.0
    return matrix


def view_matrix(camera: Camera) -> NDArray[np.float64]:
    """World to camera space, [4, 4]: the inverse of ``camera.c2w``."""
    return np.asarray(np.linalg.inv(camera.matrix), np.float64)


def clip_from_picture(source: Camera, displayed: Camera, planes: ClipPlanes) -> NDArray[np.float64]:
    """From what a picture shows at a pixel to another camera's clip space, [4, 4].

    Applies to ``(x, y, 1, w)``: pixels of ``source``'s picture from its top left, and the disparity there, 1 / z-depth;
    0 for what is infinitely far. The result is that point as ``displayed`` sees it, in homogeneous coordinates; clip w
    is its z-depth times the disparity.
    """
    world_from_picture = np.zeros((4, 4))
    world_from_picture[:3, :3] = source.matrix[:3, :3] @ [
        [1.0 / source.fx, 0.0, -source.cx / source.fx],
        [0.0, -1.0 / source.fy, source.cy / source.fy],
        [0.0, 0.0, -1.0],
    ]
    world_from_picture[:3, 3] = source.position
    world_from_picture[3, 3] = 1.0
    return projection_matrix(displayed, *planes) @ view_matrix(displayed) @ world_from_picture
